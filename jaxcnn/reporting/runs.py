"""What a workdir holds, and what its network answers on the split that is reported."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn

from jaxcnn.config import build_data
from jaxcnn.config.schema import RunConfig
from jaxcnn.data.dataset import Dataset
from jaxcnn.errors import MissingSplitError, UserError, printable
from jaxcnn.evaluation.evaluate import check_number_of_classes
from jaxcnn.evaluation.evaluator import make_predictor
from jaxcnn.evaluation.report import Predictions, check_finite
from jaxcnn.run import distributed, workdir
from jaxcnn.run.checkpoint import restore
from jaxcnn.run.checkpoint.checkpoint_files import variables_sha256
from jaxcnn.run.checkpoint.checkpoints import Checkpoints
from jaxcnn.run.metric_writer import MetricWriter, Record
from jaxcnn.run.precision import set_precision
from jaxcnn.training import selection


class Answers(NamedTuple):
    """What a network answers on a split.

    Attributes:
      dataset: the split, as the protocol of the config wants it.
      predictions: for its readable examples.
    """

    dataset: Dataset
    predictions: Predictions

    @property
    def split(self) -> str:
        """Returns the name of the split."""
        return self.dataset.split

    @property
    def predicted(self) -> np.ndarray:
        """Returns the likeliest class of each example, int [n]."""
        return np.argmax(self.predictions.log_probabilities, axis=1)

    @property
    def correct(self) -> np.ndarray:
        """Returns whether the likeliest class is the true one, bool [n]."""
        return self.predicted == self.predictions.labels


class Examined(NamedTuple):
    """A run, one of its checkpoints, and what the network answers.

    Attributes:
      name: short, and no other run of the page has it.
      directory: the workdir.
      config: of the checkpoint.
      restored: the network and its weights.
      meta: what stands beside the weights in the checkpoint; older versions kept less.
      sha256: of the parameters and BatchNorm statistics, as `state_sha256` in the last record.
      records: of metrics.jsonl up to the checkpoint.
      class_names: one for each class.
      answers: None if the data are not there.
      problem: the reason why there are no answers; "" if there are.
    """

    name: str
    directory: Path
    config: RunConfig
    restored: restore.RestoredModel
    meta: dict[str, Any]
    sha256: str
    records: list[Record]
    class_names: tuple[str, ...]
    answers: Answers | None
    problem: str

    @property
    def model(self) -> nn.Module:
        """Returns the network."""
        return self.restored.model

    @property
    def variables(self) -> dict[str, Any]:
        """Returns parameters and statistics: averaged ones where the run keeps any."""
        return self.restored.variables

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Returns (H, W, C) of the network's input in evaluation."""
        return restore.image_shape(self.config)

    @property
    def result(self) -> Record | None:
        """Returns the last record of a finished run, if it is of this checkpoint."""
        found = [record for record in self.records if "state_sha256" in record]
        return found[-1] if found and found[-1]["step"] == self.restored.step else None

    @property
    def split(self) -> str:
        """Returns the name of the split that is reported."""
        if self.answers is not None:
            return self.answers.split
        evaluated = [key for record in self.records for key in record if key.endswith("/top1")]
        names = {key.partition("/")[0] for key in evaluated} - {"train"}
        return "validation" if names == {"validation"} else "test"


def examine(directory: Path, name: str, *, checkpoint: str = "latest") -> Examined:
    """Restores a checkpoint, and evaluates it on the test split, or the validation split.

    Averaged weights are evaluated where the run keeps them. If the data are missing, or others
    than the run's, there are no answers, and the reason is kept.

    Args:
      directory: the workdir.
      name: for the page.
      checkpoint: "latest", "best" or a step.

    Raises:
      UserError: no such workdir or checkpoint, or a damaged one.
    """
    restore.check_workdir(directory)
    config = restore.read_config(directory, checkpoint)
    with set_precision(config):
        restored = restore.restore(directory, config, checkpoint=checkpoint)
        described = Checkpoints(directory / "checkpoints", read_only=True).describe(restored.step)
        if described is None:
            raise UserError(f"there is no checkpoint in {directory} yet")
        answers, problem = None, ""
        try:
            answers = _answers(config, restored, directory, described.meta)
        except UserError as error:
            problem = str(error)
    records = MetricWriter(directory, active=False).records()
    return Examined(
        name=name,
        directory=directory,
        config=config,
        restored=restored,
        meta=described.meta,
        sha256=variables_sha256(described),
        records=[record for record in records if record["step"] <= restored.step],
        class_names=restore.class_names(directory, restored),
        answers=answers,
        problem=problem,
    )


def _answers(
    config: RunConfig, restored: restore.RestoredModel, directory: Path, meta: dict[str, Any]
) -> Answers:
    try:
        dataset = build_data.load_test_data(config, "test")
    except MissingSplitError:
        dataset = build_data.load_test_data(config, "validation")
    check_number_of_classes(dataset, meta, directory)
    workdir.check_class_names(restored.class_names, dataset.class_names, directory)
    statistics = distributed.replicate(restored.statistics)
    predict = make_predictor(config, restored.model, dataset, statistics, show_progress=True)
    predictions = predict(distributed.replicate(restored.variables))
    check_finite(predictions)
    return Answers(dataset, predictions)


def bias(run: Examined, checkpoint: str) -> str:
    """Returns what to say if the checkpoint was chosen on the split that is reported; else ""."""
    return selection.bias(run.restored.selection, checkpoint, run.split)


def names_of(directories: Sequence[Path]) -> list[str]:
    """Returns a short name for each workdir: its last folder, or its path where others have that.

    Raises:
      UserError: if a workdir is given twice.
    """
    whole = [str(directory) for directory in directories]
    if len({directory.resolve() for directory in directories}) < len(directories):
        raise UserError(f"--workdir={','.join(whole)}: give each workdir once")
    short = [printable(directory.resolve().name) for directory in directories]
    return [
        name if short.count(name) == 1 else path for name, path in zip(short, whole, strict=True)
    ]
