"""Factories that convert config sections to plain arguments.

`build_data` has the factories of the data.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.errors import FlaxError

from jaxcnn.analysis.tracing.graph import trace_shapes
from jaxcnn.config.build_data import make_test_protocol, uses_mixup
from jaxcnn.config.schema import ModelConfig, RunConfig
from jaxcnn.data.dataset import Dataset, class_counts
from jaxcnn.errors import UserError, nearest, reason
from jaxcnn.evaluation.multicrop import CENTER
from jaxcnn.interop.exchange import create_library_model
from jaxcnn.layers.activations import activation
from jaxcnn.layers.factorised import convolution
from jaxcnn.layers.initializers import initializer
from jaxcnn.layers.norm import is_batch_norm, normalization
from jaxcnn.layers.split_norm import SplitBatchNorm
from jaxcnn.models import create_model
from jaxcnn.run.distributed import AXIS
from jaxcnn.training import optim
from jaxcnn.training.fields import is_balanced
from jaxcnn.training.lengths import length_in_steps
from jaxcnn.training.losses import (
    HeadLoss,
    Objective,
    balanced_weights,
    make_head_loss,
    make_objective,
)
from jaxcnn.training.schedules import Plan, size_stages

# Network fields that are functions and can be set by name.
BY_NAME: dict[str, Callable[[str], Any]] = {
    "act": activation,
    "classifier_init": initializer,
    "conv": convolution,
    "dense_init": initializer,
    "kernel_init": initializer,
    "norm": normalization,
}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}


def make_model(config: RunConfig, num_classes: int) -> nn.Module:
    """Returns the network of the section `model`, with BatchNorm according to `train.sync_bn`.

    Raises:
      UserError: if a name, field or dtype is unknown, or the data have unlabelled rows that the
        network cannot use.
    """
    section = config.model
    if section.dtype not in DTYPES:
        raise UserError(f"no model.dtype {section.dtype!r}: {nearest(section.dtype, DTYPES)}")
    library, _, name = section.name.rpartition("/")
    create = partial(create_library_model, library) if library else create_model
    plain = create(name, num_classes, parent=None)
    overrides = _overrides(section, plain)
    norm = overrides.get("norm", getattr(plain, "norm", None))
    if config.train.sync_bn and norm is not None:
        overrides["norm"] = _synchronised(norm)
    model = create(name, num_classes, dtype=DTYPES[section.dtype], **overrides)
    if config.data.unlabelled_per_labelled and not takes_labelled(model):
        raise UserError(
            f"{section.name} cannot learn from unlabelled images:"
            " set --config.data.unlabelled_per_labelled=0, or train a Ladder network"
        )
    if config.optimizer.freeze and getattr(model, "scan_units", False):
        raise UserError(
            "optimizer.freeze does not reach into a loop over units: set"
            " --config.model.overrides.scan_units=False"
        )
    return model


def _overrides(section: ModelConfig, plain: nn.Module) -> dict[str, Any]:
    """Returns the fields that a config changes, with names replaced by functions.

    Args:
      section: section `model` of the config.
      plain: the network without overrides.

    Raises:
      UserError: if a name or field does not exist, or the field takes no names.
    """
    overrides = dict(section.overrides)
    for field, value in overrides.items():
        if field in ("name", "parent"):
            raise UserError(f"model.overrides.{field} is no field of a network: leave it out")
        own = getattr(plain, field, None)
        if callable(value) or not (callable(own) or (field in BY_NAME and isinstance(value, str))):
            continue
        if field not in BY_NAME:
            raise UserError(f"model.overrides.{field} takes a function: set it in Python")
        overrides[field] = _named(f"model.overrides.{field}", BY_NAME[field], str(value))
    if section.dtype == "float64":
        overrides.setdefault("param_dtype", jnp.float64)
    if section.kernel_init:
        if not hasattr(plain, "kernel_init"):
            kind = type(plain).__name__
            raise UserError(
                f"model.kernel_init={section.kernel_init}: a {kind} has no field kernel_init"
            )
        own_start = _named("model.kernel_init", initializer, section.kernel_init)
        overrides.setdefault("kernel_init", own_start)
    return overrides


@contextlib.contextmanager
def network_of(config: RunConfig) -> Iterator[None]:
    """Returns a context in which a layer's error is raised as one line about the overrides.

    Raises:
      UserError: if a layer cannot have a value.
    """
    try:
        yield
    except UserError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        FlaxError,
    ) as error:
        overrides = config.model.overrides
        if not overrides:
            raise
        given = ", ".join(f"{field}={value!r}" for field, value in overrides.items())
        raise UserError(
            f"there is no {config.model.name} with {given} on these images ({reason(error)}):"
            " correct model.overrides"
        ) from error


def _synchronised(norm: Any) -> Any:
    """Returns a BatchNorm constructor with statistics over all devices."""
    kind = norm.func if isinstance(norm, partial) else norm
    if not is_batch_norm(norm) and kind is not SplitBatchNorm:
        raise UserError(
            "train.sync_bn is for BatchNorm, and model.overrides.norm is another normalisation:"
            " set --config.train.sync_bn=False"
        )
    return partial(norm, axis_name=AXIS)


def takes_labelled(model: nn.Module) -> bool:
    """Returns whether a network takes `labelled`, the labelled rows of a training batch."""
    return "labelled" in inspect.signature(type(model).__call__).parameters


def _named(field: str, make: Callable[[str], Any], name: str) -> Any:
    """Returns the function of a name; adds the field to the error if there is none."""
    try:
        return make(name)
    except UserError as error:
        raise UserError(f"{field}: {error}") from None


def class_weights(config: RunConfig, dataset: Dataset) -> Sequence[Any]:
    """Returns the weights of the classes in the loss; () for equal ones.

    Args:
      config: the whole config.
      dataset: the training split, for balanced weights.

    Raises:
      UserError: if the labels cannot be read.
    """
    weights = config.loss.class_weights
    return balanced_weights(class_counts(dataset)) if is_balanced(weights) else weights


def make_loss(config: RunConfig, weights: Sequence[Any] | None = None) -> Objective:
    """Returns the objective of the section `loss`.

    Args:
      config: the whole config.
      weights: see `class_weights`; None for those of the config, which may be "balanced".

    Raises:
      UserError: if the loss is unknown, or fields exclude each other.
    """
    weights = config.loss.class_weights if weights is None else weights
    return make_objective(config.loss, mixed=uses_mixup(config), class_weights=weights)


def make_test_loss(config: RunConfig) -> HeadLoss | None:
    """Returns the main term of the objective for the config's test protocol, or None.

    The scores of several views are logarithms of mean probabilities. Cross-entropy supports them;
    other losses need logits, so None is returned.

    Raises:
      UserError: see `losses.make_head_loss`.
    """
    several = make_test_protocol(config).name != CENTER.name
    if several and config.loss.name != "cross_entropy":
        return None
    return make_head_loss(config.loss.name, config.loss.label_smoothing)


def make_plan(config: RunConfig, num_examples: int) -> Plan:
    """Returns the lengths of a run in steps, for a number of training examples.

    An epoch is a pass over all examples. If only some have labels, it is a pass over the unlabelled
    rows (see `data.pipeline`), or over the labelled examples if there are no unlabelled rows.

    Raises:
      UserError: if a length is not valid, or the run has no steps or too many.
    """
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
    if not length:
        raise UserError("train.length must be positive, for example 8epochs")
    total = -int(-length // 1)  # first step that reaches the length
    if total >= 2**31:  # steps are int32
        raise UserError(f"train.length={config.train.length} is {total:,} steps: 2,147,483,647 fit")
    log, evaluate, save = periods
    moments = [length_in_steps(text, steps_per_epoch) or 0 for text in config.checkpoint.keep_at]
    keep = tuple(sorted({-int(-moment // 1) for moment in moments}))
    return Plan(total, steps_per_epoch, log, evaluate, save, _sizes(config, total), keep)


def _sizes(config: RunConfig, total: int) -> tuple[tuple[int, int], ...]:
    """Returns `Plan.sizes` for a run of `total` steps.

    Raises:
      UserError: if the schedule of sizes is not valid, or these data do not support it.
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
    config: RunConfig,
    *,
    total_steps: int,
    steps_per_epoch: Fraction,
    parameters: Sequence[str] = (),
) -> optim.Optimizer:
    """Returns the optimizer of the config; see `optim.make_optimizer`."""
    return optim.make_optimizer(
        config.optimizer,
        config.schedule,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        batch_size=config.train.batch_size,
        parameters=parameters,
    )


def parameters_by_depth(
    config: RunConfig, model: nn.Module, image_shape: Sequence[int]
) -> Sequence[str]:
    """Returns the names of the parameters in the order of their use, if the optimizer needs them.

    Args:
      config: the whole config.
      model: its network.
      image_shape: (H, W, C).
    """
    if config.optimizer.layer_decay == 1:
        return ()
    graph = trace_shapes(model, image_shape)
    return [name for node in graph.nodes for name in node.parameters]
