"""Where the config stops: each factory unpacks its sections into plain arguments."""

import inspect
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from ml_collections import ConfigDict

from jaxcnn import data
from jaxcnn.data import mix, whitening
from jaxcnn.data.augment import augment, normalize
from jaxcnn.data.crops import Cropper
from jaxcnn.data.source import DataSource, keep_labels
from jaxcnn.errors import UserError, nearest
from jaxcnn.interop.exchange import create_library_model
from jaxcnn.layers.activations import activation
from jaxcnn.layers.factorised import convolution
from jaxcnn.layers.initializers import Initialized, initializer
from jaxcnn.losses import Objective, make_objective
from jaxcnn.models import create_model
from jaxcnn.optim import Optimizer, decay_mask, make_transform, matcher
from jaxcnn.parallel import AXIS
from jaxcnn.protocols import Protocol, make_protocol
from jaxcnn.schedules import Plan, length_in_steps, make_schedule, size_stages

# Fields of networks that are functions and can be set by name.
BY_NAME = {"act": activation, "conv": convolution}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}


def load_data(config: ConfigDict, split: str, whole_images: bool = False) -> DataSource:
    """Returns a split, "train", "validation" or "test", of the section `data`.

    Of the training split only `data.labelled` examples have labels, which the run's seed draws.
    `whole_images` are not cropped, for `data.views`.

    Raises:
      UserError: if the data are missing or not as described.
    """
    section = config.data
    source = data.load(
        section.kind,
        split,
        name=section.name,
        dir=section.dir,
        image_size=section.image_size if split == "train" else eval_size(config),
        channels=section.channels,
        num_classes=section.num_classes,
        num_examples=section.num_examples,
        holdout=section.holdout,
        holdout_per_class=section.holdout_per_class,
        train_crop=section.train_crop,
        eval_crop=section.eval_crop,
        resize=section.resize,
        scale_range=section.scale_range,
        train_split=section.train_split,
        test_split=section.test_split,
        whole_images=whole_images,
    )
    if split == "train" and section.labelled:
        return keep_labels(source, section.labelled, config.seed)
    return source


def load_stages(config: ConfigDict, source: DataSource, plan: Plan) -> list[tuple[int, DataSource]]:
    """Returns (steps before, training split at the size of the stage) of all stages of a run.

    The short sides of "scale_jitter" change in proportion.

    Args:
      config: the whole config.
      source: the training split at its own size.
      plan: of the run.
    """

    def at(size: int) -> DataSource:
        if size == config.data.image_size:
            return source
        resized, factor = config.copy_and_resolve_references(), size / config.data.image_size
        scales = tuple(max(round(scale * factor), size) for scale in config.data.scale_range)
        resized.data.update(image_size=size, resize=0, scale_range=scales)
        return load_data(resized, "train")

    return [(before, at(size)) for before, size in plan.sizes]


def make_test_protocol(config: ConfigDict) -> Protocol:
    """Returns the protocol of the section `eval`, for images as `data` has them.

    Raises:
      UserError: for an unknown name, or scales that do not fit.
    """
    return make_protocol(
        config.eval.protocol,
        size=eval_size(config),
        channels=config.data.channels,
        scales=config.eval.scales,
        resize=config.data.resize,
    )


def load_test_data(config: ConfigDict, split: str) -> DataSource:
    """Returns a split as `passes` wants it: whole images where the protocol cuts out views.

    Raises:
      UserError: see `load_data` and `make_test_protocol`.
    """
    return load_data(config, split, make_test_protocol(config).views is not None)


def during_training(config: ConfigDict) -> ConfigDict:
    """Returns a run's config with the protocol of the evaluations on its way: one crop."""
    watching = config.copy_and_resolve_references()
    watching.eval.update(protocol="center", scales=())
    return watching


def watched_split(config: ConfigDict) -> str:
    """Returns the split that is evaluated during training: "validation" if there is one."""
    return "validation" if config.data.holdout or config.data.holdout_per_class else "test"


def eval_size(config: ConfigDict) -> int:
    """Returns height and width of the images of evaluation."""
    return config.data.eval_image_size or config.data.image_size


def measure_statistics(config: ConfigDict, source: DataSource) -> whitening.Statistics | None:
    """Returns what `data.preprocess` has to know of the training split, if anything.

    Raises:
      UserError: see `whitening.measure`.
    """
    section = config.data
    return whitening.measure(
        source, section.preprocess, scale=section.gcn_scale, epsilon=section.zca_epsilon
    )


def make_augment(
    config: ConfigDict, statistics: whitening.Statistics | None = None
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Returns (uint8 images, keys) → images, for training."""
    section = config.data
    return partial(
        augment,
        mean=section.mean,
        std=section.std,
        statistics=statistics,
        policy=section.policy,
        policy_operations=section.policy_operations,
        policy_magnitude=section.policy_magnitude,
        color_jitter=section.color_jitter,
        photometric=section.photometric,
        lighting=section.lighting,
        pad=section.pad,
        pad_mode=section.pad_mode,
        translate=section.translate,
        flip=section.flip,
        vertical_flip=section.vertical_flip,
        erase=section.erase,
        erase_area=section.erase_area,
        erase_fill=section.erase_fill,
    )


def make_mix(config: ConfigDict) -> Callable[..., mix.Mixed] | None:
    """Returns (images, labels, weights, keys) → mixed images, or None.

    Raises:
      UserError: for amounts that cannot be, or images without label, which have nothing to mix.
    """
    section = config.data
    mix.check(section.mixup, section.cutmix, section.mix_probability)
    if not mixes(config):
        return None
    if section.unlabelled_per_labelled:
        raise UserError(
            "images without label cannot be mixed: set data.mixup and data.cutmix to 0, or"
            " data.unlabelled_per_labelled"
        )
    return partial(
        mix.mix,
        mixup_alpha=section.mixup,
        cutmix_alpha=section.cutmix,
        probability=section.mix_probability,
    )


def mixes(config: ConfigDict) -> bool:
    """Tells whether images are mixed with each other."""
    return bool(config.data.mixup or config.data.cutmix)


def make_normalize(
    config: ConfigDict, statistics: whitening.Statistics | None = None
) -> Callable[[jax.Array], jax.Array]:
    """Returns uint8 images → images, for evaluation."""
    return partial(normalize, mean=config.data.mean, std=config.data.std, statistics=statistics)


def make_cropper(config: ConfigDict) -> Cropper:
    """Returns encoded image → uint8 [image_size, image_size, channels], as in evaluation.

    An image of another size than a data set without crop has is brought to it, as by "resize".

    Raises:
      UserError: for a size or a channel count that images cannot have.
    """
    section = config.data
    crop = "resize" if section.eval_crop == "none" else section.eval_crop
    return Cropper(eval_size(config), section.channels, evaluate=crop, resize=section.resize)


def make_model(config: ConfigDict, num_classes: int) -> nn.Module:
    """Returns the network of the section `model`, with BatchNorm as `train.sync_bn` has it.

    Raises:
      UserError: for an unknown name, field or dtype, or a network that makes nothing of unlabelled
        rows if there are any.
    """
    section = config.model
    if section.dtype not in DTYPES:
        raise UserError(f"no model.dtype {section.dtype!r}: {nearest(section.dtype, DTYPES)}")
    overrides = dict(section.overrides)
    if section.dtype == "float64":
        overrides.setdefault("param_dtype", jnp.float64)
    library, _, name = section.name.rpartition("/")
    create = partial(create_library_model, library) if library else create_model
    plain = create(name, num_classes)
    for field, value in overrides.items():
        if callable(getattr(plain, field, None)) and not callable(value):
            if field not in BY_NAME:
                raise UserError(f"model.overrides.{field} takes a function: set it in Python")
            overrides[field] = BY_NAME[field](str(value))
    if section.kernel_init:
        conv = overrides.get("conv", getattr(plain, "conv", None))
        overrides["conv"] = _initialized(plain, conv, section.kernel_init)
    model = create(name, num_classes, dtype=DTYPES[section.dtype], **overrides)
    if config.data.unlabelled_per_labelled and not takes_labelled(model):
        raise UserError(
            f"{section.name} learns nothing from images without label:"
            " set --config.data.unlabelled_per_labelled=0, or train a Ladder network"
        )
    if config.optimizer.freeze and getattr(model, "scan_units", False):
        raise UserError(
            "optimizer.freeze does not reach into a loop over units: set"
            " --config.model.overrides.scan_units=False"
        )
    norm = getattr(model, "norm", None)
    if config.train.sync_bn and norm is not None:
        model = model.clone(norm=partial(norm, axis_name=AXIS))
    return model


def takes_labelled(model: nn.Module) -> bool:
    """Tells whether a network wants to know which rows of a training batch have labels."""
    return "labelled" in inspect.signature(type(model).__call__).parameters


def _initialized(model: nn.Module, conv: Any, name: str) -> Initialized:
    """Returns a network's constructor of convolutions, with another start of their kernels."""
    if conv is None:
        raise UserError(f"model.kernel_init={name}: a {type(model).__name__} has no field conv")
    return Initialized(conv, initializer(name))


def make_loss(config: ConfigDict) -> Objective:
    """Returns the objective of the section `loss`.

    Raises:
      UserError: for an unknown loss, or fields that do not go together.
    """
    section = config.loss
    return make_objective(
        section.name,
        section.label_smoothing,
        section.aux_weight,
        section.aux_threshold,
        section.aux_decay,
        mixed=mixes(config),
    )


def make_plan(config: ConfigDict, num_examples: int) -> Plan:
    """Returns the lengths of a run over so many training examples, in steps.

    An epoch is a pass over all of them. If only some have labels, it is a pass of the rows without
    label (see `data.pipeline`), or over the labelled examples where there are no such rows.

    Raises:
      UserError: for lengths that cannot be read, a run of no length, or an unknown metric.
    """
    for field, least in (
        ("train.batch_size", 1),
        ("train.accumulate", 1),
        ("train.steps_per_call", 1),
        ("train.max_skipped", 1),
        ("eval.batch_size", 1),
        ("data.num_workers", 0),
        ("data.labelled", 0),
        ("data.repeats", 1),
        ("data.eval_image_size", 0),
        ("data.unlabelled_per_labelled", 0),
    ):
        section, name = field.split(".")
        if config[section][name] < least:
            raise UserError(f"{field}={config[section][name]} is too small: {least} or more")
    batch, unlabelled = config.train.batch_size, config.data.unlabelled_per_labelled
    if unlabelled:
        steps_per_epoch = Fraction(num_examples * (1 + unlabelled), batch * unlabelled)
    else:
        steps_per_epoch = Fraction(config.data.labelled or num_examples, batch)
    length, *periods = (
        length_in_steps(text, steps_per_epoch)
        for text in (
            config.train.length,
            config.log.every,
            config.eval.every,
            config.checkpoint.every,
        )
    )
    for field, metrics in (
        ("checkpoint", ("top1", "top5")),
        ("schedule", ("top1", "top5", "loss")),
    ):
        if config[field].metric not in metrics:
            raise UserError(f"{field}.metric={config[field].metric}: choose {' or '.join(metrics)}")
    if not length:
        raise UserError("train.length must be positive, for example 8epochs")
    total = -int(-length // 1)  # the last step is the first one that reaches the length
    log, evaluate, save = periods
    return Plan(total, steps_per_epoch, log, evaluate, save, _sizes(config, total))


def _sizes(config: ConfigDict, total: int) -> tuple[tuple[int, int], ...]:
    """Returns `Plan.sizes` of a run of `total` steps.

    Raises:
      UserError: for a schedule of sizes that cannot be, or cannot be with these data.
    """
    section = config.data
    if not section.size_schedule:
        return ((0, section.image_size),)
    problem = ""
    if section.kind in ("folder", "tfds") and section.train_crop in ("none", "frame"):
        problem = f"train_crop={section.train_crop} leaves images as they are; set it to resize"
    elif section.preprocess not in ("channels", "gcn"):
        problem = f"preprocess={section.preprocess} is measured at one size; set it to channels"
    elif section.unlabelled_per_labelled:
        problem = "unlabelled_per_labelled does not go with it; set it to 0"
    if problem:
        raise UserError(f"data.size_schedule={tuple(section.size_schedule)}: data.{problem}")
    return size_stages(section.size_schedule, total)


def make_optimizer(
    config: ConfigDict, *, total_steps: int, steps_per_epoch: Fraction, batch_size: int
) -> Optimizer:
    """Returns what the sections `optimizer` and `schedule` describe.

    Args:
      config: the whole config.
      total_steps: length of the run.
      steps_per_epoch: see `schedules.length_in_steps`.
      batch_size: the global batch, which the rate is scaled to from `schedule.reference_batch`.

    Raises:
      UserError: for unknown names, unreadable lengths or patterns.
    """
    chosen, plan = config.optimizer, config.schedule
    scale = batch_size / plan.reference_batch if plan.reference_batch else 1.0
    schedule = make_schedule(
        "constant" if plan.name == "plateau" else plan.name,
        plan.learning_rate * scale,
        total_steps=total_steps,
        boundaries=tuple(
            length
            for text in plan.boundaries
            if (length := length_in_steps(text, steps_per_epoch)) is not None
        ),
        factor=plan.factor,
        every=length_in_steps(plan.every, steps_per_epoch),
        final_fraction=plan.final_fraction,
        power=plan.power,
        warmup_steps=round(length_in_steps(plan.warmup, steps_per_epoch) or 0),
        warmup_kind=plan.warmup_kind,
        warmup_fraction=plan.warmup_fraction,
    )
    plateau = None
    if plan.name == "plateau":
        if not (0 < plan.factor < 1 and plan.threshold > 0 and plan.patience > 0):
            raise UserError(
                "a plateau needs schedule.factor between 0 and 1, schedule.threshold and"
                " schedule.patience above 0"
            )
        plateau = optax.contrib.reduce_on_plateau(
            plan.factor,
            plan.patience,
            rtol=0.0,
            atol=plan.threshold,
            min_scale=plan.factor**plan.max_drops,
        )
    transform = make_transform(
        chosen.name,
        momentum=chosen.momentum,
        nesterov=chosen.nesterov,
        rms_decay=chosen.rms_decay,
        epsilon=chosen.epsilon,
        betas=(chosen.beta1, chosen.beta2),
        weight_decay=chosen.weight_decay,
        mask=decay_mask(chosen.decay_mask),
        clip_norm=chosen.clip_norm,
        rate_factors=chosen.rate_factors,
        max_rms=chosen.max_rms,
        max_rms_mask=decay_mask(chosen.max_rms_mask, "max_rms_mask"),
        frozen=chosen.freeze,
    )
    frozen = matcher(chosen.freeze, "freeze") if chosen.freeze else None
    return Optimizer(transform, schedule, plateau, frozen)
