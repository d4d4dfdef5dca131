"""Kinds of data sets, a file for each."""
