"""Charts of runs and classifiers: curves, confusion, reliability."""
