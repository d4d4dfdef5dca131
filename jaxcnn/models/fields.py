"""The section `model` of a config."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxcnn.config import spec

DTYPES = ("float32", "bfloat16", "float64")


@dataclasses.dataclass(frozen=True)
class ModelConfig(spec.Section):
    """Section `model`."""

    name: str = spec.field(
        "",
        "see jaxcnn.list_models(); also timm/NAME, torchvision/NAME, or one of your own,"
        " MODULE:NETWORK",
        spec.text,
    )
    dtype: str = spec.field(
        "float32", "type of the computation: " + " | ".join(DTYPES), spec.choice(*DTYPES)
    )
    kernel_init: str = spec.field(
        "",
        "initialiser of all convolutions (jaxcnn.layers.initializers); '' is the network's",
        spec.text,
    )
    overrides: Mapping[str, Any] = dataclasses.field(
        default_factory=dict,
        metadata={"doc": "other fields of the network: --config.model.overrides.dropout_rate=0.2"},
    )
