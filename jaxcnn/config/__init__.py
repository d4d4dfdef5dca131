"""Configs: fields with their defaults, the papers' recipes, and what is built of them."""
