"""Converts former names of fields in the configs of older runs."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

RENAMED = {
    "data.policy": "data.auto_augment",
    "data.policy_operations": "data.auto_augment_operations",
    "data.policy_magnitude": "data.auto_augment_magnitude",
    "data.erase": "data.random_erasing",
    "data.erase_area": "data.random_erasing_area",
    "data.erase_fill": "data.random_erasing_fill",
    "optimizer.rate_factors": "optimizer.lr_multipliers",
    "train.accumulate": "train.grad_accum_steps",
}

ORDERINGS = {
    "a": "original",
    "b": "bn_after_addition",
    "c": "relu_before_addition",
    "d": "relu_only_preactivation",
    "e": "full_preactivation",
}

# Former field in `model.overrides` → its present fields. `initialization` is not needed, because a
# saved run has weights.
OVERRIDES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "initialization": lambda name: {},
    "ordering": lambda name: {"ordering": ORDERINGS.get(name, name)},
    "with_norm": lambda given: {"norm": "batch_norm" if given else "none"},
}

# Start of the network's name → (former field in `model.overrides`, its present name).
OF_NETWORKS = {
    "highway_cifar": {"features": "stage_features"},
    "highway_mnist": {"features": "stage_features"},
    "ladder_mnist": {"features": "hidden_features"},
}

# Former overrides of residual networks that now belong only to those with an ordering.
OF_AN_ORDERING = (
    "gate",
    "gate_bias",
    "residual_scale",
    "shortcut_dropout",
    "shortcut_scale",
    "shortcut_span",
)


def with_new_names(saved: Any) -> Any:
    """Returns a saved config with the present names of its fields.

    Args:
      saved: nested dictionaries, which are not changed; other objects are returned unchanged. A
        field with both names keeps the value of the new one.
    """
    result = copy.deepcopy(saved)
    for old, new in RENAMED.items():
        (section, former), present = old.split("."), new.rpartition(".")[2]
        fields = result.get(section) if isinstance(result, dict) else None
        if isinstance(fields, dict) and former in fields:
            value = fields.pop(former)
            fields.setdefault(present, value)
    model = result.get("model") if isinstance(result, dict) else None
    if isinstance(model, dict) and isinstance(model.get("overrides"), dict):
        model["overrides"] = _overrides(str(model.get("name")), model["overrides"])
    return result


def _overrides(network: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a network's saved section `model.overrides` with present names."""
    own: dict[str, str] = {}
    for start, names in OF_NETWORKS.items():
        own |= names if network.startswith(start) else {}
    result: dict[str, Any] = {}
    for name, value in overrides.items():
        result |= OVERRIDES[name](value) if name in OVERRIDES else {own.get(name, name): value}
    if "resnet" in network and any(name in result for name in OF_AN_ORDERING):
        result.setdefault("ordering", "full_preactivation")
    return result
