"""Evaluation: exact passes over a split, test-time views, reports."""
