"""The Ladder network, a multilayer perceptron that also learns from unlabelled images.

Rasmus, Valpola, Honkala, Berglund and Raiko, "Semi-Supervised Learning with Ladder Networks", 2015,
arXiv 1507.02672.

The paper's: a corrupted and a clean pass through one encoder, Gaussian noise on the input and after
every normalisation, separate batch normalisation of labelled and unlabelled rows, a bias after it
and a scale only for the softmax, the decoder with ten parameters per unit, the cost of each layer.
From the released code (CuriousAI/ladder): both passes are differentiated; the running statistics
are those of the clean pass.

Ours: 1e-5 is added to variances instead of 1e-10. With 1e-10 a unit that is constant up to float32
rounding would be amplified, and its gradient too, by 1e5. Test images are normalised by running
averages over the unlabelled rows of recent batches; the paper averages over the whole training set
after training.

MNIST, permutation invariant, test error in the paper (%) with 100 / 1000 / all labels. Parameters:
1,538,770 of the encoder, 3,105,710 with the decoder (1,536,500 weights, 30,440 of its combinators):

  ladder_mnist_mlp   1.06 / 0.84 / 0.57      only its top term (Γ)   3.06 / 1.53 / 0.78
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.layers import sow_auxiliary
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.norm import batch_norm
from jaxcnn.layers.split_norm import SplitBatchNorm, per_channel
from jaxcnn.models.checks import check_images

# The paper's costs of the layers with 100 labels, starting at the input.
DENOISING = (1000.0, 10.0, 0.1, 0.1, 0.1, 0.1, 0.1)

_fan_in_normal = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class Pass(NamedTuple):
    """The corrupted or the clean pass of a training batch through the encoder.

    Attributes:
      labelled: booleans [N], rows that are normalised separately; None normalises all together.
      noise: standard deviation of the noise after every normalisation.
      clean: whether this pass updates the running statistics.
    """

    labelled: jax.Array | None
    noise: float
    clean: bool


class Encoded(NamedTuple):
    """Values of a layer in one pass.

    Attributes:
      h: activated values.
      z: normalised values, with noise if there is any.
      mean: (features,), mean by which the unlabelled rows were normalised.
      std: (features,), deviation by which the unlabelled rows were normalised.
    """

    h: jax.Array
    z: jax.Array
    mean: jax.Array
    std: jax.Array


class Layer(nn.Module):
    """Linear map, BN[, noise]; + bias[, times scale], activation.

    Attributes:
      linear: constructor of the map; None omits it.
      norm: constructor of the normalisation.
      act: activation; None omits it and the bias.
      with_scale: whether there is a scale; only activations without ReLU(c·x) = c·ReLU(x) need one.
    """

    linear: Constructor | None
    norm: Constructor
    act: Activation | None
    with_scale: bool = False

    def __call__(self, h: jax.Array, way: Pass | None = None) -> jax.Array:
        """Maps (N, ..., C) to the activated (N, ..., C') of one pass, or of evaluation."""
        return self.encode(h, way).h

    @nn.compact
    def encode(self, h: jax.Array, way: Pass | None) -> Encoded:
        """Returns the layer's values; `way` is None in evaluation."""
        x = h if self.linear is None else self.linear(name="linear")(h)
        norm = self.norm(name="norm")
        labelled, update = (way.labelled, way.clean) if way else (None, False)
        z, mean, std = norm.normalize(x, labelled, update)
        if way:
            z = add_noise(self, z, way.noise)
        h = z
        if self.act is not None:
            shape, dtype = x.shape[-1:], norm.param_dtype
            bias = self.param("bias", nn.initializers.zeros, shape, dtype)
            h = h + per_channel(bias, h).astype(h.dtype)
            if self.with_scale:
                scale = self.param("scale", nn.initializers.ones, shape, dtype)
                h = h * per_channel(scale, h).astype(h.dtype)
            h = self.act(h)
        return Encoded(h, z, mean, std)


def add_noise(module: nn.Module, x: jax.Array, deviation: float) -> jax.Array:
    """Adds Gaussian noise from the module's rng `dropout`; deviation 0 needs no rng."""
    if deviation == 0:
        return x
    return x + deviation * jax.random.normal(module.make_rng("dropout"), x.shape, x.dtype)


class Combinator(nn.Module):
    """ẑ = (z̃ - μ(u))·v(u) + μ(u), μ and v being a sigmoid plus a line, with parameters per unit.

    Attributes:
      dtype: dtype of the computation.
      param_dtype: dtype of `a1` … `a10`, named as in the paper.
    """

    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, z: jax.Array, u: jax.Array) -> jax.Array:
        """Returns the denoised z, (N, C), from the noisy z and the signal from above."""

        def curve(first: int) -> jax.Array:
            a, b, c, d, e = (
                self.param(
                    f"a{first + i}",
                    nn.initializers.ones if i == 1 else nn.initializers.zeros,
                    z.shape[-1:],
                    self.param_dtype,
                ).astype(self.dtype)[None]
                for i in range(5)
            )
            return a * nn.sigmoid(b * u + c) + d * u + e

        mu, v = curve(1), curve(6)
        return (z - mu) * v + mu


class Decoder(nn.Module):
    """Starting at the top: BN of the signal, combinator, cost, linear map down; repeated.

    It ends at the lowest layer with a cost: `combine6`, `linear5`, `combine5`, ….

    Attributes:
      denoising: cost of each layer, starting at the lowest.
      linear: constructor of linear maps, called with the features.
      norm: constructor of the normalisation.
    """

    denoising: Sequence[float]
    linear: Constructor
    norm: Constructor

    @nn.compact
    def __call__(
        self,
        clean: Sequence[Encoded],
        noisy: Sequence[jax.Array],
        top: jax.Array,
        labelled: jax.Array | None,
    ) -> jax.Array:
        """Returns costs [N] whose mean over the batch is the mean cost of the unlabelled rows.

        Args:
          clean: layers in the clean pass, starting at the lowest; z of each is (N, C).
          noisy: z of the same layers in the corrupted pass.
          top: (N, C), the signal at the top.
          labelled: booleans [N], rows without cost; None gives all rows a cost.
        """
        costing = jnp.ones(top.shape[:1], bool) if labelled is None else ~labelled
        norm = self.norm(name="norm")
        lowest = next(i for i, weight in enumerate(self.denoising) if weight)
        cost: jax.Array | float = 0.0
        u = top
        for i in reversed(range(lowest, len(clean))):
            u = norm.standardize(u, *norm.moments(u, costing))
            combine = Combinator(norm.dtype, norm.param_dtype, name=f"combine{i}")
            estimate = combine(noisy[i].astype(norm.dtype), u)
            mean, std = (per_channel(values, estimate) for values in (clean[i].mean, clean[i].std))
            squares = jnp.square((estimate - mean) / std - clean[i].z)
            cost = cost + self.denoising[i] * jnp.mean(squares, axis=-1)
            if i > lowest:
                u = self.linear(noisy[i - 1].shape[-1], name=f"linear{i}")(estimate)
        rows_of_each = costing.size / jnp.maximum(jnp.sum(costing), 1)
        return jnp.where(costing, cost * rows_of_each.astype(squares.dtype), 0)


def check_denoising(denoising: Sequence[float], layers: int) -> None:
    """Raises `UserError` unless there is a non-negative cost for each layer."""
    if len(denoising) != layers or min(denoising) < 0:
        raise UserError(
            f"denoising={tuple(denoising)}: give {layers} numbers, none below 0, the cost of the "
            "input and of each layer"
        )


def check_labelled(labelled: jax.Array | None, images: jax.Array) -> None:
    """Raises `UserError` unless there is a boolean for each image."""
    if labelled is not None and (labelled.shape, labelled.dtype) != (images.shape[:1], bool):
        raise UserError(
            f"labelled has shape {labelled.shape} and type {labelled.dtype}: it takes one bool for "
            f"each of the {len(images)} images"
        )


def check_split_norm(norm: Any) -> None:
    """Raises `UserError` if a normalisation cannot measure rows separately."""
    kind = norm.func if isinstance(norm, partial) else norm
    if not all(hasattr(kind, method) for method in ("normalize", "moments", "standardize")):
        raise UserError(
            f"norm={getattr(kind, '__name__', kind)} cannot normalise rows with and without labels"
            " by themselves: a Ladder network takes SplitBatchNorm, or a partial of it"
        )


def check_decoder(decoder: bool, num_classes: int) -> None:
    """Raises `UserError` if the decoder lacks the layer at which it starts."""
    if decoder and num_classes == 0:
        raise UserError("the decoder starts from the classes: num_classes=0 goes without decoder")


class LadderMLP(nn.Module):
    """Hidden layers, linear, BN, softmax; the same with noise; the decoder.

    `apply(variables, images, train=False, labelled=None)` maps (N, H, W, C) of any size, which are
    flattened, to logits (N, num_classes) in at least float32. With `train=True` they are the logits
    of the corrupted pass, the collection `batch_stats` must be mutable and an rng `dropout`, the
    source of all noise, is needed if `noise` is positive. `labelled`, booleans (N,), then marks the
    rows with labels, which are normalised separately; None normalises all rows together. Evaluation
    is the clean pass with running statistics and ignores `labelled`.

    With `decoder=True` training sows `denoising` into the collection `aux`: costs (N,) that are
    added to the losses unchanged. Labelled rows have cost 0. The costs of other rows are scaled so
    that the mean over all rows is the mean over unlabelled rows; if `labelled` is None, all rows
    have a cost. Evaluation denoises nothing and sows nothing.

    Submodules: `fc1`, `fc2`, …, `classifier`, `decoder`.

    Attributes:
      num_classes: 0 returns the last hidden layer.
      hidden_features: features of the hidden layers.
      decoder: whether to use the decoder and its costs.
      denoising: weight λ of the squared error of the input and of each layer; the decoder ends at
        the lowest layer with a weight other than 0. Zeros except for the last are the Γ-model.
      noise: standard deviation of the noise on the input and after every normalisation.
      dtype: dtype of the computation; BN's statistics keep theirs.
      param_dtype: dtype of the parameters.
      norm_momentum: decay of the running statistics, which are those of the clean pass and the
        unlabelled rows (of all rows, if a batch has no unlabelled ones).
      norm_epsilon: added to variances.
      norm: constructor of normalisation, `SplitBatchNorm` or one with its methods.
      act: activation of the hidden layers.

    Raises:
      UserError: if images are not of rank 4, a decoder has no classes, or `denoising` or `labelled`
        do not fit.
    """

    num_classes: int = 10
    hidden_features: Sequence[int] = (1000, 500, 250, 250, 250)
    decoder: bool = False
    denoising: Sequence[float] = DENOISING
    noise: float = 0.3
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    norm_momentum: float = 0.9
    norm_epsilon: float = 1e-5
    norm: Constructor = SplitBatchNorm
    act: Activation = nn.relu

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False, labelled: jax.Array | None = None
    ) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        check_images(images)
        check_labelled(labelled, images)
        check_decoder(self.decoder, self.num_classes)
        logits_dtype = jnp.promote_types(self.dtype, jnp.float32)

        def linear(features: int, dtype: Any = self.dtype, **fields: Any) -> nn.Dense:
            types: dict[str, Any] = {"dtype": dtype, "param_dtype": self.param_dtype}
            return nn.Dense(features, use_bias=False, kernel_init=_fan_in_normal, **types, **fields)

        check_split_norm(self.norm)
        norm = batch_norm(
            self.norm,
            train=train,
            momentum=self.norm_momentum,
            epsilon=self.norm_epsilon,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        layers = [
            Layer(partial(linear, features), norm, self.act, name=f"fc{i + 1}")
            for i, features in enumerate(self.hidden_features)
        ]
        if self.num_classes > 0:
            classifier = Layer(
                partial(linear, self.num_classes, logits_dtype),
                partial(norm, dtype=logits_dtype),
                lambda x: x,
                with_scale=True,
                name="classifier",
            )
            layers.append(classifier)

        x = images.reshape(images.shape[0], -1).astype(self.dtype)
        # Initialisation includes the decoder, whatever `train` is.
        decoding = self.decoder and (train or self.is_initializing())
        if not train and not decoding:
            h = x
            for layer in layers:
                h = layer(h)
            return h.astype(logits_dtype)

        def encode(noise: float, clean: bool) -> list[Encoded]:
            nothing, one = jnp.zeros(1, x.dtype), jnp.ones(1, x.dtype)
            h = add_noise(self, x, noise)
            encoded = [Encoded(h, h, nothing, one)]
            for layer in layers:
                way = Pass(labelled, noise, clean) if train else None
                encoded.append(layer.encode(encoded[-1].h, way))
            return encoded

        clean = encode(0.0, clean=True)
        noisy = encode(self.noise if train else 0.0, clean=False)
        logits = noisy[-1].h
        if decoding:
            check_denoising(self.denoising, len(noisy))
        if decoding and any(self.denoising):
            decoder = Decoder(self.denoising, linear, norm, name="decoder")
            costs = decoder(clean, [layer.z for layer in noisy], nn.softmax(logits), labelled)
            sow_auxiliary(self, "denoising", costs)
        return logits.astype(logits_dtype)
