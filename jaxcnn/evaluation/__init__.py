"""Evaluation: exact passes over a split, test-time augmentation, reports."""
