"""Limits and turns: numbers and names, and time only as an argument. Knows nothing of the house, nor of mail."""
