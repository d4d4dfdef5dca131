"""One mechanism switched, everything else equal: what an ablation is.

A file of `configs/ablations` says it, in `get_ablation()`: a config, the variants as fields that
differ from it, the metric, and what the paper claims of the variants. `python -m jaxcnn.ablate`
runs it.
"""

import copy
import dataclasses
import itertools
import math
import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxcnn.config import config_dict, user_modules
from jaxcnn.config.datasets import DATASETS, HOLDOUTS
from jaxcnn.config.schema import RunConfig
from jaxcnn.errors import UserError, nearest

Curve = list[tuple[float, float]]
# (config, workdir of its run) → points (x, y)
Measure = Callable[[RunConfig, Path], Curve]

RELATIONS = (">", "<", ">=", "<=", "~")
MARGIN, FACTOR = 0.01, 1.25  # of claims that name none
TUNING_SEED = 1000
METRICS = {
    "test/top1": "test accuracy",
    "test/loss": "test loss",
    "train/loss": "training loss",
    "train/top1": "training accuracy",
}


class Claim(NamedTuple):
    """What a paper says of the metric of two variants.

    Attributes:
      first: a variant.
      relation: ">" or "<", the first has the larger or the smaller value; ">=" or "<=", it is not
        smaller, or not larger, by `margin` or more; "~", the two differ by less than `margin`.
      second: the variant that it is compared with.
      margin: how far values may differ and still count as equal, in the metric's unit; on a
        logarithmic scale it is a factor, such as 1.1 for a tenth. None is 0.01, or that of 1.25.
    """

    first: str
    relation: str
    second: str
    margin: float | None = None


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
      claims: what is judged; () compares each variant with the first, without a verdict.
      metric: a key of a run's records: its last value is the result, its values the curve.
      seeds: number of runs of each variant.
      tune: values of fields that are tried for each variant before its runs, with a seed that none
        of them has: {"schedule.learning_rate": (0.03, 0.1)}. Of several fields all combinations
        are tried. The best by the metric is taken; a test metric is that of images held out of
        training.
      x: what the curve goes along.
      measure: returns the curve instead of the records; its last y is the result. By variant where
        variants are measured differently; of those with equal fields one alone is trained.
      trains: whether there is a run before the measurement.
      log: whether values are compared by their ratios, with geometric means; by default those
        without an upper limit, such as a loss, are.
      limits: of the metric's values, by which intervals are cut; by default (0, 1) of a `top1` or
        `top5`, (0, inf) of a `loss`, and none.
      sizes: what must hold of the variants' sizes, or no run begins; by default all are equal. An
        empty list compares networks whose sizes have nothing to do with each other.
      loss_threshold: the training loss up to which the epochs are counted.
      larger_is_better: of the metric; by default of accuracies alone.
      alone: whether one run is done at a time, whatever `--jobs` says, because runs are timed.
    """

    base: Any
    variants: Mapping[str, Mapping[str, Any]]
    claims: Sequence[Claim] = ()
    metric: str = "test/top1"
    seeds: int = 5
    tune: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    x: str = "epoch"
    measure: Measure | Mapping[str, Measure] | None = None
    trains: bool = True
    log: bool | None = None
    limits: tuple[float, float] | None = None
    sizes: Sequence[Sizes] = (Sizes("parameters"), Sizes("macs"))
    loss_threshold: float = 0.5
    larger_is_better: bool | None = None
    alone: bool = False

    @property
    def quantity(self) -> str:
        """The metric in words."""
        return METRICS.get(self.metric, self.metric)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value that the metric can have."""
        if self.limits is not None:
            return self.limits
        kind = self.metric.rpartition("/")[2].removesuffix("_ema")
        if kind in ("top1", "top5"):
            return (0.0, 1.0)
        return (0.0 if kind in ("loss", "nll", "grad_norm") else -math.inf, math.inf)

    @property
    def logarithmic(self) -> bool:
        """Whether values are compared by their ratios."""
        return self.bounds == (0.0, math.inf) if self.log is None else self.log

    @property
    def maximised(self) -> bool:
        """Whether a larger value of the metric is better."""
        if self.larger_is_better is not None:
            return self.larger_is_better
        return "top1" in self.metric or "top5" in self.metric or "accuracy" in self.metric

    @property
    def compared(self) -> Sequence[Claim]:
        """The claims, or every variant with the first one and no claim: the relation is ""."""
        first, *others = self.variants
        return self.claims or [Claim(variant, "", first) for variant in others]

    def same_training(self, variant: str) -> list[str]:
        """Returns the variants that are measurements of one training, in their order."""
        if not isinstance(self.measure, Mapping):
            return [variant]
        fields = self.variants[variant]
        return [name for name, others in self.variants.items() if others == fields]

    def margin(self, claim: Claim) -> float:
        """How far values may differ and still count as equal; see `Claim.margin`."""
        default = FACTOR if self.logarithmic else MARGIN
        return default if claim.margin is None else claim.margin

    def config(self, variant: str, seed: int, fields: Mapping[str, Any] | None = None) -> RunConfig:
        """Returns the config of a run, with further fields.

        Raises:
          UserError: for a field that configs do not have.
        """
        config = copy.deepcopy(self.base)
        for changes in (self.variants[variant], fields or {}):
            for name, value in changes.items():
                config_dict.set_field(config, name, value)
        config.seed = seed
        return config_dict.freeze(config)

    def on(self, dataset: str) -> "Ablation":
        """Returns the same with another data set: its images at the size of the file's.

        Numbers of training examples are rounded down to equally many of each class.

        Raises:
          UserError: if there is no such data set, or it has more classes than examples are used.
        """
        if dataset not in DATASETS:
            raise UserError(f"--data={dataset}: {nearest(dataset, DATASETS)}")
        base = copy.deepcopy(self.base)
        kept = {
            name: base[section][field]
            for name in ("data.image_size", "data.labelled", "data.flip", "log.every", "eval.every")
            for section, field in (name.split("."),)
        }
        base.dataset = dataset
        DATASETS[dataset](base)
        native = base.data.image_size
        for name, value in kept.items():
            config_dict.set_field(base, name, value)
        if base.data.kind == "tfds" and native != base.data.image_size:
            base.data.update(train_crop="resize", eval_crop="resize")
        if base.data.kind == "folder":
            base.data.labelled = 0  # the number of classes is not known
        elif 0 < base.data.labelled < _classes(base):
            raise UserError(
                f"--data={dataset} has {_classes(base)} classes and the ablation trains on"
                f" {base.data.labelled} examples: choose data with fewer classes"
            )
        classes = _classes(base)
        base.data.labelled -= base.data.labelled % classes
        variants = {
            name: {
                field: value - value % classes if field == "data.labelled" else value
                for field, value in fields.items()
            }
            for name, fields in self.variants.items()
        }
        return dataclasses.replace(self, base=base, variants=variants)

    def tuning(self) -> list[dict[str, Any]]:
        """Returns the fields of each run that tunes a variant; [] if none does."""
        if not self.tune:
            return []
        choices = itertools.product(*self.tune.values())
        held_out = {"data.holdout": HOLDOUTS.get(self.base.dataset, 0)}
        return [{**dict(zip(self.tune, values, strict=True)), **held_out} for values in choices]


def _classes(config: Any) -> int:
    """Returns the number of classes, or 1 if the config does not tell it."""
    known = {"glyphs": 36, "digits": 10, "folder": 1}
    return known.get(config.data.kind, 1 if ":" in config.data.kind else config.data.num_classes)


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
    named: list[tuple[str, tuple[str, ...]]] = [
        ("a claim", (claim.first, claim.second)) for claim in ablation.claims
    ]
    named += [(f"the {sizes.quantity}", tuple(sizes.variants)) for sizes in ablation.sizes]
    for purpose, names in named:
        for name in names:
            if name not in ablation.variants:
                near = nearest(name, ablation.variants)
                raise UserError(f"{file}: no variant {name!r} for {purpose}: {near}")
    for claim in ablation.claims:
        if claim.relation not in RELATIONS:
            raise UserError(f"{file}: {claim}: a relation is one of {' '.join(RELATIONS)}")
        least = 1.0 if ablation.logarithmic else 0.0
        if not ablation.margin(claim) > least:
            raise UserError(f"{file}: {claim}: a margin is more than {least:g}")
    if ablation.tune and ablation.measure is not None:
        raise UserError(f"{file}: what has a measure of its own cannot be tuned: leave out one")
    for variant in ablation.variants:  # a misspelt field is better said before the first run
        if Path(variant).is_absolute() or {"..", ""} & {*Path(variant).parts, variant}:
            raise UserError(f"{file}: the variant {variant!r} must name a folder within --out")
        for fields in (None, *ablation.tuning()[:1]):
            config = ablation.config(variant, 0, fields)
        config_dict.to_saved(config)
        user_modules.import_model(config.model.name)  # which the user's own file names
        user_modules.import_data(config.data.kind)
    return ablation, content["__doc__"] or ""
