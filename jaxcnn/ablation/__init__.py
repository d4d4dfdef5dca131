"""One mechanism switched, everything else equal: what an ablation is.

A file of `configs/ablations` says it, in `get_ablation()`: a config, the variants as fields that
differ from it, and the metric. `python -m jaxcnn.ablate` runs it.
"""

import copy
import dataclasses
import math
import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.config import config_dict, user_modules
from jaxcnn.config.schema import RunConfig
from jaxcnn.errors import UserError, nearest

Curve = list[tuple[float, float]]
# (config, workdir of its run) → points (x, y)
Measure = Callable[[RunConfig, Path], Curve]

# A run of some seconds keeps its last state alone.
QUICK = {"checkpoint.every": "never", "checkpoint.keep_best": 0}


class Sizes(NamedTuple):
    """What a claim says about the sizes of networks: equal, or so many times smaller.

    The number of each variant, divided by that of the first one, lies between two bounds.

    Attributes:
      quantity: "parameters", or "macs", the multiply-adds for one image at test time.
      variants: which are compared with the first of them; () is all.
      least: lower bound.
      most: upper bound.
    """

    quantity: str
    variants: Sequence[str] = ()
    least: float = 0.99
    most: float = 1.01


@dataclasses.dataclass(frozen=True)
class Ablation:
    """Variants of one config.

    Attributes:
      base: what all have in common, a ConfigDict as recipes return it.
      variants: of each, by name, the fields that it sets: {"model.overrides.width": 8}.
      baseline: the variant that the others are compared with, "" is the first; or a dictionary,
        from a variant to the one that it is compared with.
      metric: a key of a run's records: its last value is the result, its values the curve.
      quick: fields of a shorter run, for a laptop, set before those of the variant.
      x: what the curve goes along.
      measure: returns the curve instead of the records; its last y is the result.
      trains: whether there is a run before the measurement.
      log_y: whether the figure's axis is logarithmic.
      limits: of the metric's values, by which intervals are cut; by default (0, 1) of a `top1` or
        `top5`, (0, inf) of a `loss`, and none.
      sizes: what must hold of the variants' sizes, or no run begins; by default all are equal. An
        empty list compares networks whose sizes have nothing to do with each other.
    """

    base: Any
    variants: Mapping[str, Mapping[str, Any]]
    baseline: str | Mapping[str, str] = ""
    metric: str = "test/top1"
    quick: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    x: str = "epoch"
    measure: Measure | None = None
    trains: bool = True
    log_y: bool = False
    limits: tuple[float, float] | None = None
    sizes: Sequence[Sizes] = (Sizes("parameters"), Sizes("macs"))

    @property
    def baselines(self) -> Mapping[str, str]:
        """From each variant to the one that it is compared with; those of none are left out."""
        if not isinstance(self.baseline, str):
            return self.baseline
        first = self.baseline or next(iter(self.variants))
        return {variant: first for variant in self.variants if variant != first}

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value that the metric can have."""
        if self.limits is not None:
            return self.limits
        kind = self.metric.rpartition("/")[2].removesuffix("_ema")
        if kind in ("top1", "top5"):
            return (0.0, 1.0)
        return (0.0 if kind in ("loss", "nll", "grad_norm") else -math.inf, math.inf)

    def config(self, variant: str, seed: int, *, quick: bool) -> RunConfig:
        """Returns the config of a run.

        Raises:
          UserError: for a field that configs do not have.
        """
        config = copy.deepcopy(self.base)
        short = {**QUICK, **self.quick} if quick else {}
        for fields in (short, self.variants[variant]):
            for name, value in fields.items():
                config_dict.set_field(config, name, value)
        config.seed = seed
        return config_dict.freeze(config)


def load(file: Path) -> tuple[Ablation, str]:
    """Returns the ablation that a file describes, and the file's docstring.

    Raises:
      UserError: no such file, or one without variants.
    """
    if not file.is_file():
        here = sorted(path.stem for path in Path("configs/ablations").glob("*.py"))
        hint = nearest(file.stem, here) if here else "write one, see docs/ablations.md"
        raise UserError(f"there is no ablation file {file}: {hint}")
    example = "see docs/ablations.md"
    try:
        content = runpy.run_path(str(file))
        if "get_ablation" not in content:
            raise UserError(f"{file} has no get_ablation(): {example}")
        ablation = content["get_ablation"]()
    except UserError:
        raise
    except Exception as error:  # whatever the file, which is a program, raises
        reason = (str(error).strip().splitlines() or [""])[-1]
        raise UserError(f"cannot read {file}: {type(error).__name__}: {reason}") from error
    if not isinstance(ablation, Ablation):
        raise UserError(f"get_ablation() of {file} returns no Ablation: {example}")
    if len(ablation.variants) < 2:
        raise UserError(f"{file} has {len(ablation.variants)} variants: nothing to compare")
    named = [("a baseline", (*ablation.baselines, *ablation.baselines.values()))]
    named += [(f"the {sizes.quantity}", tuple(sizes.variants)) for sizes in ablation.sizes]
    for purpose, names in named:
        for name in names:
            if name not in ablation.variants:
                near = nearest(name, ablation.variants)
                raise UserError(f"{file}: no variant {name!r} for {purpose}: {near}")
    for variant in ablation.variants:  # a misspelt field is better said before the first run
        if Path(variant).is_absolute() or {"..", ""} & {*Path(variant).parts, variant}:
            raise UserError(f"{file}: the variant {variant!r} must name a folder within --out")
        for quick in (False, True):
            config = ablation.config(variant, 0, quick=quick)
            config_dict.to_saved(config)
            user_modules.import_model(config.model.name)  # which the user's own file names
            user_modules.import_data(config.data.kind)
    return ablation, content["__doc__"] or ""
