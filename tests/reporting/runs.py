"""Runs without training: a network of two layers, and answers as they are given."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.config.schema import RunConfig, changed
from jaxcnn.data.dataset import from_arrays
from jaxcnn.evaluation.report import Predictions
from jaxcnn.reporting.runs import Answers, Examined
from jaxcnn.run.checkpoint.restore import RestoredModel
from jaxcnn.training.state import TrainState

NAMES = ("<b>ant</b>", 'bee "b"', "קרפד", "n" * 200)
SIDE = 8


class Small(nn.Module):
    """One convolution, averaged, and a linear layer."""

    num_classes: int = len(NAMES)

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(6, (3, 3), name="conv1")(images))
        return nn.Dense(self.num_classes, name="classifier")(x.mean((1, 2)))


class Dense(nn.Module):
    """A linear layer, which has no maps."""

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(len(NAMES), name="classifier")(images.reshape(len(images), -1))


def predictions(labels, predicted, confidence=0.7):
    """Log-probabilities whose likeliest class is the one that is given."""
    confidence = np.broadcast_to(confidence, len(labels))
    others = (1 - confidence) / (len(NAMES) - 1)
    scores = np.repeat(others[:, None], len(NAMES), axis=1)
    scores[np.arange(len(labels)), predicted] = confidence
    labels = np.array(labels, np.int32)
    return Predictions(np.arange(len(labels)), labels, np.log(scores).astype(np.float32))


def records(last=4, top1=0.5):
    """As a run of one step each epoch leaves them."""
    found = []
    for step in range(1, last + 1):
        found.append(
            {"step": step, "epoch": float(step), "train/loss": 1.0 / step, "train/top1": 0.4}
            | {"train/learning_rate": 0.1 / step, "train/grad_norm": 1.0, "waiting_for_data": 0.25}
            | {"images_per_second": 100.0 * (step > 1), "peak_memory": 3 * 2**20}
        )
        found.append(
            {"step": step, "epoch": float(step), "test/loss": 2.0 / step, "test/top1": top1}
        )
    return [*found, found[-1] | {"state_sha256": "ab" * 32}]


def run(labels, predicted, name="first", confidence=0.7, **fields):
    """An examined run whose network gave these answers."""
    labels = np.array(labels)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(labels), SIDE, SIDE, 3), dtype=np.uint8)
    dataset = from_arrays("small", "test", images, labels, NAMES)
    config = changed(
        RunConfig(),
        {
            "model.name": "small",
            "dataset": "small",
            "data.image_size": SIDE,
            "data.train_crop": "none",
            "data.eval_crop": "none",
        }
        | fields,
    )
    model = Small()
    variables = model.init(jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3)))
    state = TrainState(4, variables["params"], {}, None, None, None)
    selection = {"split": "validation", "metric": "top1", "of": []}
    restored = RestoredModel(model, state, 4, len(NAMES), NAMES, None, selection)
    answers = Answers(dataset, predictions(labels, predicted, confidence))
    meta = {
        "devices": 1,
        "versions": {"python": "3", "jax": "1"},
        "git": "c0ffee",
        "command": "python -m jaxcnn.main --config=<b>",
        "hardware": {"device": "cpu", "processor": "P", "cores": 2, "memory": 2**31},
    }
    top1 = float(answers.correct.mean())
    kept = records(top1=top1)
    return Examined(
        name, Path("runs") / name, config, restored, meta, "ab" * 32, kept, NAMES, answers, ""
    )
