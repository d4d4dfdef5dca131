"""Factories for the data: convert the config's section `data` to plain arguments."""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax

from jaxcnn import data
from jaxcnn.config.schema import RunConfig, changed
from jaxcnn.data import cache, normalization
from jaxcnn.data.augmentation import mixup
from jaxcnn.data.augmentation.augment import augment, normalize
from jaxcnn.data.dataset import Dataset, keep_labels
from jaxcnn.data.images.transforms import Cropper
from jaxcnn.errors import MissingSplitError, UserError
from jaxcnn.evaluation.multicrop import Protocol, make_protocol
from jaxcnn.run import distributed
from jaxcnn.training.schedules import Plan

SHARE = 0.1  # of a device's memory, the most that "auto" gives to the images of a split


def load_data(config: RunConfig, split: str, whole_images: bool = False) -> Dataset:
    """Returns a split, "train", "validation" or "test", of the section `data`.

    In the training split only `data.labelled` examples, drawn by the run's seed, have labels.
    `whole_images` are not cropped; `data.views` needs them.

    Raises:
      UserError: if the data are missing or do not match the config.
    """
    dataset = data.load_split(config.data, split, whole_images=whole_images)
    if split == "train" and config.data.labelled:
        return keep_labels(dataset, config.data.labelled, config.seed)
    return dataset


def load_kept(config: RunConfig, split: str, whole_images: bool = False) -> Dataset:
    """Returns a split whose examples will all be read, with its images kept; see `data.cache`.

    Raises:
      UserError: see `load_data` and `cache.keep`.
    """
    return keep(config, load_data(config, split, whole_images))


def keep(config: RunConfig, dataset: Dataset) -> Dataset:
    """Returns a split with its images kept as `data.cache` says; see `cache.keep`."""
    return cache.keep(dataset, config.data.cache, num_workers=config.data.num_workers)


def place(config: RunConfig, dataset: Dataset) -> Dataset:
    """Returns a split in memory with `on_device` as `data.cache` says.

    With "auto" it is on the devices if they are accelerators that have room. Images of sizes that
    change during training stay in memory.

    Raises:
      UserError: if it should be on the devices and is not in memory.
    """
    wanted, images = config.data.cache, dataset.images
    resized = dataset.split == "train" and bool(config.data.size_schedule)
    if wanted == "device" and (images is None or resized):
        reason = "its size changes" if resized else "it is not in memory"
        raise UserError(
            f"data.cache=device: {dataset.name} ({dataset.split}) cannot be gathered on the"
            f" devices, because {reason}; set it to auto"
        )
    if images is None or resized:
        return dataset
    room = images.nbytes <= distributed.device_memory() * SHARE
    return dataclasses.replace(dataset, on_device=wanted == "device" or (wanted == "auto" and room))


def load_stages(config: RunConfig, dataset: Dataset, plan: Plan) -> list[tuple[int, Dataset]]:
    """Returns (earlier steps, training split at the stage's image size) for all stages of a run.

    The short sides of "scale_jitter" are scaled in proportion.

    Args:
      config: the whole config.
      dataset: the training split at its own size.
      plan: lengths of the run.
    """

    def at(size: int) -> Dataset:
        if size == config.data.image_size:
            return dataset
        factor = size / config.data.image_size
        scales = tuple(max(round(scale * factor), size) for scale in config.data.scale_range)
        fields = {"data.image_size": size, "data.resize": 0, "data.scale_range": scales}
        return load_kept(changed(config, fields), "train")

    return [(before, at(size)) for before, size in plan.sizes]


def make_test_protocol(config: RunConfig) -> Protocol:
    """Returns the test protocol of the section `eval`, for images of the section `data`.

    Raises:
      UserError: if the name is unknown, or the scales do not fit.
    """
    return make_protocol(
        config.eval.protocol,
        size=eval_size(config),
        channels=config.data.channels,
        scales=config.eval.scales,
        resize=config.data.resize,
    )


def load_test_data(config: RunConfig, split: str) -> Dataset:
    """Returns a split for the evaluator: whole images if the protocol cuts out views.

    Raises:
      UserError: see `load_data` and `make_test_protocol`.
    """
    return load_kept(config, split, make_test_protocol(config).views is not None)


def during_training(config: RunConfig) -> RunConfig:
    """Returns a run's config with the protocol for evaluation during training: one crop."""
    return changed(config, {"eval.protocol": "center", "eval.scales": ()})


def validation_split(config: RunConfig) -> str:
    """Returns the split evaluated during training: "validation" if it exists, else "test"."""
    return "validation" if data.has_validation(config.data) else "test"


def load_reported(config: RunConfig, validation: Dataset) -> Dataset:
    """Returns the reported split: "test", or "validation" if there is no test split.

    Args:
      config: the whole config.
      validation: the split named by `validation_split`.

    Raises:
      UserError: see `load_data`.
    """
    if validation.split == "test":
        return validation
    try:
        return load_data(config, "test")
    except MissingSplitError:
        return validation


def eval_size(config: RunConfig) -> int:
    """Returns height and width of evaluation images."""
    return config.data.eval_image_size or config.data.image_size


def measure_statistics(config: RunConfig, dataset: Dataset) -> normalization.Statistics | None:
    """Returns the statistics of the training split that `data.preprocess` needs, or None.

    Raises:
      UserError: see `normalization.measure`.
    """
    section = config.data
    return normalization.measure(
        dataset, section.preprocess, scale=section.gcn_scale, epsilon=section.zca_epsilon
    )


def make_augment(
    config: RunConfig, statistics: normalization.Statistics | None = None
) -> Callable[..., jax.Array]:
    """Returns (uint8 images, keys, *, statistics) → images, for training.

    A compiled function should pass `statistics` in the call, which makes them an argument of the
    program. Statistics given here become constants of the program.
    """
    section = config.data
    return partial(
        augment, config=section, mean=section.mean, std=section.std, statistics=statistics
    )


def make_mixup(config: RunConfig) -> Callable[..., mixup.Mixed] | None:
    """Returns (images, labels, weights, keys) → mixed images, or None.

    Raises:
      UserError: if images have no labels to mix.
    """
    if not uses_mixup(config):
        return None
    if config.data.unlabelled_per_labelled:
        raise UserError(
            "unlabelled images cannot be mixed: set data.mixup and data.cutmix to 0, or"
            " data.unlabelled_per_labelled"
        )
    return partial(mixup.mixup_or_cutmix, config=config.data)


def uses_mixup(config: RunConfig) -> bool:
    """Returns whether images are mixed with each other."""
    return bool(config.data.mixup or config.data.cutmix)


def make_normalize(
    config: RunConfig, statistics: normalization.Statistics | None = None
) -> Callable[..., jax.Array]:
    """Returns (uint8 images, *, statistics) → images, for evaluation; see `make_augment`."""
    return partial(normalize, mean=config.data.mean, std=config.data.std, statistics=statistics)


def make_cropper(config: RunConfig) -> Cropper:
    """Returns encoded image → uint8 [image_size, image_size, channels], as in evaluation.

    If a data set has no crop, images of another size are resized, as by "resize".

    Raises:
      UserError: if the size or the channel count is not valid for images.
    """
    section = config.data
    crop = "resize" if section.eval_crop == "none" else section.eval_crop
    return Cropper(
        eval_size(config),
        section.channels,
        evaluate=crop,
        resize=section.resize,
        interpolation=section.interpolation,
    )
