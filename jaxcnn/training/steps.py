"""The training step and the evaluation step as pure functions of arrays."""

import contextlib
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import traverse_util

from jaxcnn.data.augmentation import augment as augmentation
from jaxcnn.data.augmentation.mixup import Mixed
from jaxcnn.evaluation.multicrop import CENTER, Protocol, make_scores
from jaxcnn.layers.norm import by_batch_statistics, by_running_statistics
from jaxcnn.ops.collectives import all_reduce
from jaxcnn.ops.reductions import norm
from jaxcnn.training.losses import HeadLoss, Objective, cross_entropy, mixed_labels
from jaxcnn.training.metrics import classification_sums, top_k_hits
from jaxcnn.training.optim import Optimizer, tree_of_names
from jaxcnn.training.state import TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
Augment = Callable[[jax.Array, jax.Array], jax.Array]  # (uint8 images, keys [b]) → images
# (images, labels, weights, keys [b]) → mixed images; see `data.augmentation.mixup`
Mixup = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], Mixed]
Normalize = Callable[[jax.Array], jax.Array]  # uint8 images → images

# Constants folded into the root key, one per use. Parameters are drawn from the root key itself.
AUGMENT, DROPOUT, DROP_PATH = augmentation.ROOT, 2, 3


@dataclasses.dataclass(frozen=True)
class StepParts:
    """Functions and settings of a training step.

    Attributes:
      model: the network.
      optimizer: see `optim.make_optimizer`.
      objective: see `losses.make_objective`.
      augment: see `data.augmentation.augment`.
      total_steps: length of the run; the objective gets the finished share.
      mixup: see `data.augmentation.mixup.mixup_or_cutmix`; None disables mixing.
      semi_supervised: whether the network takes `labelled`, booleans [b]: which rows have a label.
      grad_accum_steps: number of consecutive microbatches whose gradients are added; b must be a
        multiple. BatchNorm normalises each microbatch separately.
      ema_decay: decay of the moving averages; unused if the state has none.
      ema_warmup: limits the decay to (1 + step) / (10 + step), as in TensorFlow.
      axis_name: the mapped axis to reduce over; None on a single device without a map.
    """

    model: nn.Module
    optimizer: Optimizer
    objective: Objective
    augment: Augment
    total_steps: int
    mixup: Mixup | None = None
    semi_supervised: bool = False
    grad_accum_steps: int = 1
    ema_decay: float = 0.0
    ema_warmup: bool = True
    axis_name: str | None = None


def make_train_step(parts: StepParts) -> TrainStep:
    """Returns (state, batch) → (state, metrics).

    A batch holds `image` uint8 [b, H, W, C], `label` int32 [b], `weight` float32 [b] and, for the
    augmentation keys, `index`, `epoch` and `repeat` int32 [b]. A label of -1 is hidden. The loss is
    the weighted mean over the global batch; `top1` is the mean over its labelled rows. For mixed
    images `top1` uses the label with the larger share. Metrics are scalars: `loss`, `top1`,
    `learning_rate`, `grad_norm`, `skipped`.

    Parameters and statistics matched by `optimizer.frozen`, and their averages, are unchanged bit
    for bit. Norms with frozen statistics normalise with these.

    If the loss or a gradient is not finite, only the step count changes and `skipped` is 1.
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        return _train_step(parts, state, batch)

    return train_step


def _train_step(parts: StepParts, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    optimizer, weight = parts.optimizer, batch["weight"]
    counts = jnp.sum(weight), jnp.sum(weight * (batch["label"] >= 0))
    counts = all_reduce(jax.lax.psum, counts, parts.axis_name)
    totals = jax.tree.map(lambda n: jnp.maximum(n, 1), counts)
    shares = _accumulated(parts, state, batch, totals)
    grads, loss, top1 = all_reduce(jax.lax.psum, (shares[0], *shares[2:]), parts.axis_name)
    batch_stats = all_reduce(jax.lax.pmean, shares[1], parts.axis_name)

    rate = optimizer.rate(state.step, state.opt_state)
    updates, transform_state = optimizer.transform(rate).update(
        grads, state.opt_state["transform"], state.params
    )
    params = _kept_where_frozen(optimizer, optax.apply_updates(state.params, updates), state.params)
    batch_stats = _kept_where_frozen(optimizer, batch_stats, state.batch_stats)
    changed = state.replace(
        params=params,
        batch_stats=batch_stats,
        opt_state={**state.opt_state, "transform": transform_state},
        ema=_averages(parts, state, params, batch_stats),
    )
    grad_norm = norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    state = jax.tree.map(lambda new, old: jax.lax.select(finite, new, old), changed, state)
    metrics = {
        "loss": loss,
        "top1": top1,
        "learning_rate": rate,
        "grad_norm": grad_norm,
        "skipped": 1 - finite.astype(jnp.int32),
    }
    return state.replace(step=state.step + 1), metrics


def _kept_where_frozen(
    optimizer: Optimizer, new: chex.ArrayTree, old: chex.ArrayTree
) -> chex.ArrayTree:
    return jax.tree.map(
        lambda is_frozen, new, old: old if is_frozen else new,
        tree_of_names(optimizer.freezes, old),
        new,
        old,
    )


def _averages(
    parts: StepParts, state: TrainState, params: chex.ArrayTree, batch_stats: chex.ArrayTree
) -> dict[str, chex.ArrayTree] | None:
    """Returns the moving averages after a step, or None if the state has none."""
    ema = state.ema
    if ema is None:
        return None
    decay = jnp.float32(parts.ema_decay)
    if parts.ema_warmup:
        decay = jnp.minimum(decay, (1 + state.step) / (10 + state.step))
    fresh = {"params": params, "batch_stats": batch_stats}
    averages = optax.incremental_update(fresh, ema, 1 - decay)
    return {key: _kept_where_frozen(parts.optimizer, averages[key], ema[key]) for key in ema}


def _accumulated(
    parts: StepParts, state: TrainState, batch: Batch, totals: tuple[jax.Array, jax.Array]
) -> Any:
    """Returns the results of `_loss_and_gradients`, added over the microbatches."""
    loss_and_gradients = partial(_loss_and_gradients, parts, state)
    if parts.grad_accum_steps == 1:
        return loss_and_gradients(state.batch_stats, batch, jnp.int32(0), totals)

    def add_part(carry: Any, numbered: tuple[jax.Array, Batch]) -> tuple[Any, None]:
        part, rows = numbered
        grads, stats, loss, hits = loss_and_gradients(carry[1], rows, part, totals)
        sums = jax.tree.map(jnp.add, (carry[0], *carry[2:]), (grads, loss, hits))
        return (sums[0], stats, *sums[1:]), None

    rows = jax.tree.map(lambda x: x.reshape(parts.grad_accum_steps, -1, *x.shape[1:]), batch)
    one = jax.tree.map(lambda x: x[0], rows)
    shapes = jax.eval_shape(loss_and_gradients, state.batch_stats, one, jnp.int32(0), totals)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    start = (zeros[0], state.batch_stats, *zeros[2:])
    return jax.lax.scan(add_part, start, (jnp.arange(parts.grad_accum_steps), rows))[0]


def _loss_and_gradients(
    parts: StepParts,
    state: TrainState,
    batch_stats: Any,
    batch: Batch,
    part: jax.Array,
    totals: tuple[jax.Array, jax.Array],
) -> tuple[Any, Any, jax.Array, jax.Array]:
    """Returns gradients, statistics, loss and top-1 hits: the shares of one microbatch."""
    keys = _rng_keys(parts, state, batch, part)
    of_examples = keys.pop("augment")
    images = parts.augment(batch["image"], of_examples)
    label, labelled = batch["label"], batch["label"] >= 0
    mixed = None
    if parts.mixup is not None:
        mixed = parts.mixup(images, label, batch["weight"], of_examples)
        images = mixed.images
        label = jnp.where(mixed.shares >= 0.5, label, mixed.partners)
    total, total_labelled = totals
    further: dict[str, Any] = {"labelled": labelled} if parts.semi_supervised else {}

    def loss_fn(params: Any) -> tuple[jax.Array, tuple[Any, jax.Array]]:
        params = _kept_where_frozen(parts.optimizer, params, jax.lax.stop_gradient(params))
        freezing = nn.intercept_methods(by_running_statistics(parts.optimizer.freezes))
        with freezing if parts.optimizer.frozen else contextlib.nullcontext():
            logits, updated = parts.model.apply(
                {"params": params, "batch_stats": batch_stats},
                images,
                train=True,
                rngs=keys,
                mutable=["batch_stats", "aux"],
                **further,
            )
        targets = batch["label"]
        if mixed is not None:
            targets = mixed_labels(targets, mixed.partners, mixed.shares, logits)
        progress = state.step / parts.total_steps
        losses = parts.objective(logits, updated.get("aux"), targets, progress)
        hits = jnp.sum(top_k_hits(logits, label, 1) * labelled * batch["weight"])
        loss = jnp.sum(jnp.where(batch["weight"] > 0, losses * batch["weight"], 0)) / total
        return loss, (updated.get("batch_stats", {}), hits / total_labelled)

    (loss, (stats, hits)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    return grads, stats, loss, hits


def _rng_keys(
    parts: StepParts, state: TrainState, batch: Batch, part: jax.Array
) -> dict[str, jax.Array]:
    """Returns the keys for augmentation [b], dropout and stochastic depth."""

    def root(use: int) -> jax.Array:
        return jax.random.fold_in(jax.random.wrap_key_data(state.rng), use)

    def of_step(use: int) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(root(use), state.step), part)

    dropout = of_step(DROPOUT)
    if parts.axis_name is not None:
        dropout = jax.random.fold_in(dropout, jax.lax.axis_index(parts.axis_name))
    places = (batch[name] for name in ("epoch", "index", "repeat"))
    augmenting = augmentation.example_keys(root(AUGMENT), *places)
    # Stochastic depth draws once per unit and batch, with the same result on every device.
    return {"augment": augmenting, "dropout": dropout, "drop_path": of_step(DROP_PATH)}


def make_train_steps(train_step: TrainStep) -> TrainStep:
    """Returns (state, batches) → (state, metrics): several steps as one program.

    Args:
      train_step: result of `make_train_step`. Batches and metrics are stacked; the int32 scalar
        `count` in `batches` is the number of stacked batches to use.
    """

    def train_steps(state: TrainState, batches: Batch) -> tuple[TrainState, Metrics]:
        rows = {field: values for field, values in batches.items() if field != "count"}

        def batch(number: jax.typing.ArrayLike) -> Batch:
            return jax.tree.map(lambda values: values[number], rows)

        def step(number: jax.Array, done: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, metrics = done
            state, new = train_step(state, batch(number))
            return state, jax.tree.map(lambda kept, one: kept.at[number].set(one), metrics, new)

        _, one = jax.eval_shape(train_step, state, batch(0))
        most = len(rows["label"])
        metrics = jax.tree.map(lambda x: jnp.zeros((most, *x.shape), x.dtype), one)
        return jax.lax.fori_loop(0, batches["count"], step, (state, metrics))

    return train_steps


def make_eval_step(
    model: nn.Module,
    normalize: Normalize,
    *,
    protocol: Protocol = CENTER,
    rows: int = 0,
    loss: HeadLoss | None = cross_entropy,
    axis_name: str | None = None,
) -> Callable[[dict[str, Any], Batch], Metrics]:
    """Returns (variables, batch) → sums over the global batch.

    The sums are those of `metrics.classification_sums` with the losses `loss` and `nll` (softmax
    cross-entropy of the scores), and `seen`, the number of rows that are not padding.

    Args:
      model: the network.
      normalize: see `data.augmentation.augment.normalize`.
      protocol: meaning of the rows of the batch; see `multicrop`.
      rows: number of images per network call; see `multicrop.make_scores`.
      loss: main term of the objective; None omits it.
      axis_name: the mapped axis to reduce over; None on a single device without a map.
    """
    scores = make_scores(model, normalize, protocol, rows)

    def eval_step(variables: dict[str, Any], batch: Batch) -> Metrics:
        logits = scores(variables, batch["image"])
        losses = _losses(loss, logits, batch["label"])
        sums = classification_sums(logits, losses, batch["label"], batch["weight"])
        sums["seen"] = jnp.sum(batch["index"] >= 0)
        return all_reduce(jax.lax.psum, sums, axis_name)

    return eval_step


def make_predict_step(
    model: nn.Module,
    normalize: Normalize,
    *,
    protocol: Protocol = CENTER,
    rows: int = 0,
    loss: HeadLoss | None = cross_entropy,
    axis_name: str | None = None,
) -> Callable[[dict[str, Any], Batch], dict[str, jax.Array]]:
    """Returns (variables, batch) → `log_probabilities` [B, K] of the global batch.

    The result also holds `index`, `label`, `weight` and `loss` of the rows, [B].

    Args:
      model: see `make_eval_step`.
      normalize: see `make_eval_step`.
      protocol: see `make_eval_step`.
      rows: see `make_eval_step`.
      loss: see `make_eval_step`.
      axis_name: the mapped axis to gather over.
    """
    scores = make_scores(model, normalize, protocol, rows)

    def predict_step(variables: dict[str, Any], batch: Batch) -> dict[str, jax.Array]:
        found = {field: batch[field] for field in ("index", "label", "weight")}
        logits = scores(variables, batch["image"])
        found["log_probabilities"] = jax.nn.log_softmax(logits)
        if loss is not None:
            found["loss"] = loss(logits, batch["label"])
        return found if axis_name is None else jax.lax.all_gather(found, axis_name, tiled=True)

    return predict_step


def _losses(loss: HeadLoss | None, logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    """Returns `nll` and, if given, `loss` of each example."""
    own = {} if loss is None else {"loss": loss(logits, labels)}
    return own | {"nll": cross_entropy(logits, labels)}


def make_statistics_step(
    model: nn.Module,
    augment: Augment,
    *,
    seed: int,
    frozen: Callable[[str], bool] | None = None,
    axis_name: str | None = None,
) -> Callable[[dict[str, Any], Batch], Any]:
    """Returns (variables, batch) → `batch_stats` measured on one batch.

    All other layers run in evaluation mode; the images are augmented as in training. Several
    devices measure a share each and return the mean. Statistics that the forward pass does not use,
    for example of auxiliary heads, are unchanged.

    Args:
      model: the network.
      augment: see `make_train_step`.
      seed: seed of the run.
      frozen: name → whether a statistic is left unchanged.
      axis_name: the mapped axis to reduce over; None on a single device without a map.
    """

    def kept(name: str) -> bool:
        return frozen is not None and frozen(name)

    def statistics_step(variables: dict[str, Any], batch: Batch) -> Any:
        root = jax.random.fold_in(jax.random.key(seed), AUGMENT)
        places = (batch[name] for name in ("epoch", "index", "repeat"))
        images = augment(batch["image"], augmentation.example_keys(root, *places))
        old = traverse_util.flatten_dict(variables["batch_stats"])
        # Variances are never negative, so a value that is still negative afterwards was not
        # measured.
        start = {
            path: value if kept("/".join(path)) else jnp.full_like(value, -1)
            for path, value in old.items()
        }
        with nn.intercept_methods(by_batch_statistics(kept)):
            _, updated = model.apply(
                {**variables, "batch_stats": traverse_util.unflatten_dict(start)},
                images,
                train=False,
                mutable=["batch_stats"],
            )
        new = traverse_util.flatten_dict(updated["batch_stats"])
        found = traverse_util.unflatten_dict(
            {
                path: jnp.where(new[(*path[:-1], "var")] < 0, value, new[path])
                for path, value in old.items()
            }
        )
        return found if axis_name is None else jax.lax.pmean(found, axis_name)

    return statistics_step
