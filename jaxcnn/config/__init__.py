"""Configs: fields with defaults, the papers' recipes, and factories that build objects."""
