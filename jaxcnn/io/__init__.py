"""Reads and writes files that may be damaged or hostile; handles users' paths."""
