"""The report of runs as one page: what was run, and what it found."""
