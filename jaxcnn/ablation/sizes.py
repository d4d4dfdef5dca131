"""Parameters and multiply-adds of an ablation's networks: whether a comparison is a fair one."""

import dataclasses
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.ablation import Ablation
from jaxcnn.analysis import count_macs
from jaxcnn.config import build, build_data
from jaxcnn.errors import UserError, nearest
from jaxcnn.training.state import count_parameters


class Size(NamedTuple):
    """The size of a network.

    Attributes:
      parameters: their number, those that only training uses included.
      macs: multiply-adds for one image at test time; see `jaxcnn.analysis.count_macs`.
    """

    parameters: int
    macs: int


def measure(ablation: Ablation) -> dict[str, Size]:
    """Returns the size of each variant's network; nothing is computed or allocated.

    Raises:
      UserError: for a network or data that do not exist.
    """
    classes: dict[str, int] = {}
    known: dict[str, Size] = {}
    found = {}
    for variant in ablation.variants:
        config = ablation.config(variant, 0)
        data = f"{config.dataset} {config.data.dir}"
        if data not in classes:
            classes[data] = build_data.load_data(config, "train").num_classes
        shape = (config.data.image_size, config.data.image_size, config.data.channels)
        network = json.dumps([dataclasses.asdict(config.model), shape, classes[data]], default=repr)
        if network not in known:
            images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
            with build.network_of(config):
                model = build.make_model(config, classes[data])
                variables = jax.eval_shape(model.init, jax.random.key(0), images)
            parameters = count_parameters(variables["params"])
            known[network] = Size(parameters, count_macs(model, shape))
        found[variant] = known[network]
    return found


def check(ablation: Ablation, sizes: dict[str, Size]) -> None:
    """Checks the sizes that the ablation declares.

    Raises:
      UserError: if two variants are not equal where they should be, or differ by another factor.
    """
    for rule in ablation.sizes:
        if rule.quantity not in Size._fields:
            raise UserError(f"Sizes({rule.quantity!r}): {nearest(rule.quantity, Size._fields)}")
        first, *others = rule.variants or ablation.variants
        one = getattr(sizes[first], rule.quantity)
        for variant in others:
            other = getattr(sizes[variant], rule.quantity)
            if not rule.least <= other / one <= rule.most:
                raise UserError(
                    f"{variant} has {other:,} {rule.quantity} and {first} {one:,}, which is"
                    f" {other / one:.3f} times as many and not {rule.least:.3g} to {rule.most:.3g}:"
                    " change the variants, or say in `sizes` what the claim compares"
                )
