"""Former names of fields, which the configs of older runs have."""

import copy
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


def with_new_names(saved: Any) -> Any:
    """Returns a saved config whose fields have their present names.

    Args:
      saved: nested dictionaries, not changed. Whatever else it is, is returned as it is; a field
        that stands there under both names keeps the value of the new one.
    """
    result = copy.deepcopy(saved)
    for old, new in RENAMED.items():
        (section, former), present = old.split("."), new.rpartition(".")[2]
        fields = result.get(section) if isinstance(result, dict) else None
        if isinstance(fields, dict) and former in fields:
            value = fields.pop(former)
            fields.setdefault(present, value)
    return result
