"""Charts of runs, classifiers and what flows through a network."""
