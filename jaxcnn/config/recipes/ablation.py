"""What most files of `configs/ablations` start from: a paper's network on digits, for a laptop."""

from typing import Any

from ml_collections import ConfigDict


def on_digits(
    config: ConfigDict, *, steps: int = 1000, size: int = 16, examples: int = 0
) -> ConfigDict:
    """Returns a recipe for digits with another length, image size and number of examples.

    Args:
      config: the recipe; it is changed.
      steps: of 64 images.
      size: of the images, 8 or more: the digits were drawn in 8x8.
      examples: training images used, the same number of each class; 0 is all 1,437, with which
        nearly every network is nearly perfect.
    """
    config.data.update(image_size=size, pad=size // 16, labelled=examples)
    config.train.batch_size = 64
    if "scan_units" in config.model.overrides:
        del config.model.overrides.scan_units  # which goes without the dropout of a variant
    for name, value in short(steps).items():
        section, field = name.split(".")
        config[section][field] = value
    config.checkpoint.update(every=f"{steps // 4}steps", keep_best=0)
    return config


def short(steps: int) -> dict[str, Any]:
    """Returns the fields that give a run so many steps, and its curve ten points.

    A third of them are warm-up: in a short run deep residual networks need it at the rates that
    show what plain ones cannot.
    """
    tenth = f"{steps // 10}steps"
    return {
        "train.length": f"{steps}steps",
        "schedule.warmup": f"{steps // 3}steps",
        "log.every": tenth,
        "eval.every": tenth,
    }
