"""Capture and replay: what a machine heard and ordered, written down as it happens and played again later."""
