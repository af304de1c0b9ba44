"""The command line: one file a verb, each with `add(verbs)` and `run(arguments)`."""
