"""A run's files, processes and devices."""
