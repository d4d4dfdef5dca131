"""Config file for `--config=NAME:DATASET`: returns a recipe by name, from any directory."""

from ml_collections import ConfigDict

from jaxcnn.config import recipes


def get_config(text: str) -> ConfigDict:
    """Returns the recipe for a text such as "resnet18" or "resnet18:folder"."""
    name, _, dataset = text.partition(":")
    return recipes.recipe(name, dataset or "digits")
