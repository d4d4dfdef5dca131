"""Checkpoints: writing, keeping, restoring them."""
