"""The configuration: from the text of a file to the settings of a run."""
