"""The pure core: bytes and facts in, orders out. No socket, no clock, no dice, no logging."""
