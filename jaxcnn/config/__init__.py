"""Configs: fields with their defaults, the papers' recipes, and the objects built from them."""
