"""asyncio, and uvloop, as a runtime: it lends a clock, entropy, one alarm and signals, and decides nothing."""
