"""Compares the speed of our networks and operations with other libraries, in one run."""
