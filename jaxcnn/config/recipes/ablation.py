"""Base of most files in `configs/ablations`: a paper's network on digits, for a laptop."""

from typing import Any

from ml_collections import ConfigDict


def on_digits(
    config: ConfigDict, *, steps: int = 1000, size: int = 16, examples: int = 0
) -> ConfigDict:
    """Returns a recipe for digits with another length, image size and number of examples.

    Args:
      config: the recipe, which is changed.
      steps: number of steps with 64 images.
      size: side of the images, 8 or more: the originals are 8x8.
      examples: number of training images, equally many of each class. 0 uses all 1,437, with which
        nearly every network is nearly perfect.
    """
    config.data.update(image_size=size, pad=size // 16, labelled=examples)
    config.train.batch_size = 64
    if "scan_units" in config.model.overrides:
        del config.model.overrides.scan_units  # does not support a variant's dropout
    for name, value in short(steps).items():
        section, field = name.split(".")
        config[section][field] = value
    config.checkpoint.update(every=f"{steps // 4}steps", keep_best=0)
    return config


def short(steps: int) -> dict[str, Any]:
    """Returns the fields for a run of `steps` steps, with ten points in its curve.

    A third of the steps are warm-up. In a short run deep residual networks need it, at learning
    rates at which plain networks fail.
    """
    tenth = f"{steps // 10}steps"
    return {
        "train.length": f"{steps}steps",
        "schedule.warmup": f"{steps // 3}steps",
        "log.every": tenth,
        "eval.every": tenth,
    }
