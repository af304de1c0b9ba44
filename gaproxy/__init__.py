"""gaproxy: an egress proxy for mail. The name-plate of the house: its version, and nothing else."""

__version__ = "0.1.0"
