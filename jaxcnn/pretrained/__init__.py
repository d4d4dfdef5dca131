"""Trained weights by name: what there is, where it comes from, and how it becomes a network."""
