"""How we go out: which way, how it is dialled, what the called one says first, and where its connection rests."""
