"""Training: the loop and the pure functions that it calls."""
