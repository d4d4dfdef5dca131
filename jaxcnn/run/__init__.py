"""Files, processes and devices of a run."""
