"""Compiles our networks as contenders: a training step or inference."""

import dataclasses
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxcnn.analysis import count_macs
from jaxcnn.benchmark.rounds import Contender, peak_memory
from jaxcnn.errors import UserError
from jaxcnn.models import create_model, input_size
from jaxcnn.run import compiler_options, distributed
from jaxcnn.training.fields import LossConfig
from jaxcnn.training.initialize import prepare_state
from jaxcnn.training.losses import make_objective
from jaxcnn.training.optim import Optimizer
from jaxcnn.training.state import TrainState, initial_state
from jaxcnn.training.steps import StepParts, make_train_step

LEARNING_RATE, MOMENTUM = 1e-3, 0.9


class Work(NamedTuple):
    """The work of every contender.

    Attributes:
      mode: "train" (forward, backward, SGD with momentum) or "infer".
      images: float32 (N, H, W, C).
      labels: int32 (N,).
      dtype: dtype of the computation, "float32" or "bfloat16"; parameters are float32.
    """

    mode: str
    images: np.ndarray
    labels: np.ndarray
    dtype: str


def make_work(name: str, mode: str, batch: int, size: int, dtype: str) -> Work:
    """Returns random images and labels for a network.

    Args:
      name: a name in the registry.
      mode: see `Work`.
      batch: number of images.
      size: height and width of images; 0 is the network's own.
      dtype: see `Work`.
    """
    height, width, channels = input_size(name)
    generator = np.random.default_rng(0)
    shape = (batch, size or height, size or width, channels)
    classes = create_model(name).num_classes
    return Work(
        mode,
        generator.normal(size=shape).astype(np.float32),
        generator.integers(0, classes, batch).astype(np.int32),
        dtype,
    )


def initialise(model: nn.Module, work: Work) -> Mapping[str, Any]:
    """Returns randomly initialised variables, made as a run makes them.

    One by one, they would leave hundreds of small programs in memory.
    """
    initial = initial_state(model, _optimizer(), work.images.shape[1:])
    return prepare_state(initial, jax.random.key(0))().variables()


def without_dropout(model: nn.Module) -> nn.Module:
    """Returns the network with all dropout rates at zero."""
    fields = (field.name for field in dataclasses.fields(model))
    rates: dict[str, Any] = {name: 0.0 for name in fields if name.endswith("dropout_rate")}
    return model.clone(**rates)


def with_library_convolutions(model: nn.Module) -> nn.Module:
    """Returns the network with Flax's own convolution, which XLA optimises by itself."""
    if not hasattr(model, "conv"):
        raise UserError(f"{type(model).__name__} takes no other convolution: --against=none")
    return model.clone(conv=partial(nn.Conv, padding=0))


def make_step(model: nn.Module) -> Any:
    """Returns the training step of a network; batches contain images that need no augmentation."""
    optimizer = _optimizer()
    objective = make_objective(LossConfig(aux_weight=0.0))
    step = make_train_step(
        StepParts(model, optimizer, objective, lambda images, keys: images, total_steps=1)
    )
    options = compiler_options.for_train_step(getattr(model, "remat", False))
    return optimizer, jax.jit(step, donate_argnums=0, compiler_options=options)


def _optimizer() -> Optimizer:
    return Optimizer(
        partial(optax.sgd, momentum=MOMENTUM), optax.constant_schedule(LEARNING_RATE), None
    )


def start(
    model: nn.Module, variables: Mapping[str, Any], work: Work
) -> tuple[Any, TrainState, dict[str, Any]]:
    """Returns the step, the state at step 0 and the batch."""
    optimizer, step = make_step(model)
    own = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), dict(variables))
    batch = make_batch(work.images, work.labels)
    return step, make_state(optimizer, own), jax.device_put(batch)


def make_state(optimizer: Optimizer, variables: Mapping[str, Any]) -> TrainState:
    """Returns the state at step 0 that holds the variables."""
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        ema=None,
        rng=jax.random.key_data(jax.random.key(0)),
    )


def make_batch(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a training batch; see `pipeline.Batch`."""
    count = len(images)
    return {
        "image": images,
        "label": labels,
        "index": np.arange(count, dtype=np.int32),
        "epoch": np.zeros(count, np.int32),
        "repeat": np.zeros(count, np.int32),
        "weight": np.ones(count, images.dtype),
    }


def few_in_doubles(name: str, size: int) -> Work:
    """Returns a training step of four images in float64, whatever is timed.

    In float32 some networks, such as a freshly initialised MobileNet, amplify rounding errors so
    much that after five steps no two implementations agree. With BatchNorm over a single image,
    Inception v3 does so in float64 too. The images are the first of a batch of sixteen.
    """
    work = make_work(name, "train", 16, size, "float32")
    images, labels = work.images[:4].astype(np.float64), work.labels[:4]
    return Work("train", images, labels, "float64")


def losses(model: nn.Module, variables: Mapping[str, Any], work: Work, steps: int) -> list[float]:
    """Returns the losses of `steps` steps, computed in the dtype of the work."""
    found = []
    with jax.enable_x64(work.dtype == "float64"):
        exact = model.clone(dtype=jnp.dtype(work.dtype), param_dtype=jnp.dtype(work.dtype))
        cast = jax.tree.map(lambda leaf: np.asarray(leaf, work.images.dtype), dict(variables))
        step, state, batch = start(exact, cast, work)
        for _ in range(steps):
            state, metrics = step(state, batch)
            found.append(float(metrics["loss"]))
    return found


def contender(name: str, model: nn.Module, variables: Mapping[str, Any], work: Work) -> Contender:
    """Compiles a network for its work, and runs a first step."""
    began = time.perf_counter()
    if work.mode == "train":
        step, state, batch = start(model, variables, work)
        compiled = step.lower(state, batch).compile()
        held = [state]

        def run(steps: int) -> None:
            for _ in range(steps):
                held[0], metrics = compiled(held[0], batch)
            jax.block_until_ready((held[0], metrics))

    else:
        images = jax.device_put(work.images)
        own = jax.device_put(dict(variables))
        compiled = jax.jit(partial(model.apply, train=False)).lower(own, images).compile()

        def run(steps: int) -> None:
            for _ in range(steps):
                logits = compiled(own, images)
            jax.block_until_ready(logits)

    distributed.trim_heap()
    run(1)
    seconds = time.perf_counter() - began
    accessed = (compiled.cost_analysis() or {}).get("bytes accessed")
    return Contender(name, run, seconds, peak_memory(compiled), accessed)


def floating_operations(model: nn.Module, work: Work) -> float:
    """Returns two per multiply-add; training has three times the number of inference."""
    macs = count_macs(model, work.images.shape[1:])
    return 2.0 * macs * len(work.images) * (3 if work.mode == "train" else 1)
