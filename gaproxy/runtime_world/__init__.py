"""The third runtime: a network that is not there, with dice in place of luck, and oaths that must always hold."""
