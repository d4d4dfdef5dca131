"""FractalNet.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016,
arXiv 1605.07648.

A block is f_C with f_1(x) = layer(x), f_{C+1}(x) = join(f_C(f_C(x)), layer(x)): C parallel columns
that meet in joins, which average them. The paper's: columns and widths, dropout rates, drop-path,
the pooling of each column before the last join of a block (its figure pools after the join),
Xavier's initialisation. From the released code (gustavla/fractalnet): convolution, dropout, BN,
ReLU in this order, Caffe's form of Xavier, U(±sqrt(3/fan_in)). Ours: no biases before BN; the mean
over space before the classifier, which changes nothing at 32x32; no dropout in the narrow networks.
FractalNet-34 is described in one sentence ("between" the first and last layers of ResNet-34);
averaging its last block instead of max-pooling it, without dropout, is ours.

Evaluation uses all columns, or only the deepest. The paper's name counts convolutions: its 20
layers are followed by a classifier. Its narrow networks are 5, 10, 20, 40, 80 and 160 deep.

CIFAR, test error in the paper with flips and shifts (%), parameters. The networks of 20 layers with
dropout and drop-path, in brackets without both; the narrow ones with heavier augmentation:

  fractalnet20_cifar10    4.60 (5.22)     33,724,618
  fractalnet20_cifar100   23.73 (23.30)   33,770,788
  fractalnet_narrow_c1    37.32 (C-100)   258,292     fractalnet_narrow_c4   27.38    4,778,820
  fractalnet_narrow_c2    30.71           847,716     fractalnet_narrow_c5   26.46   10,184,692
  fractalnet_narrow_c3    27.69           2,125,204   fractalnet_narrow_c6   27.38   21,095,076

ImageNet, ten-crop validation error (top-1 / top-5 %): fractalnet34 24.12 / 7.39, 164,031,016.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.layers import ConvNormAct, global_average_pool
from jaxcnn.layers.conv import Activation, Constructor
from jaxcnn.layers.dropout import Dropout
from jaxcnn.layers.initializers import caffe_xavier
from jaxcnn.layers.join import draw_live_inputs, join_mean
from jaxcnn.models.checks import check_images
from jaxcnn.models.network import NormNetwork
from jaxcnn.ops.pool import max_pool


def join_sizes(columns: int) -> list[int]:
    """Returns the number of columns in each join of a block, from its input to its output.

    The deepest columns are joined. Column c of C, counted from the shallowest, has 2^(c-1) layers.
    A join follows every second layer of the deepest column: 2, 3, 2, 4, 2, 3, … columns.
    """
    return [(place & -place).bit_length() for place in range(2, 2 ** (columns - 1) + 1, 2)]


class Layer(nn.Module):
    """3x3, dropout, BN, ReLU."""

    features: int
    conv: Constructor
    norm: Constructor
    act: Activation
    dropout: Constructor

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N, H, W, C) to (N, H, W, features)."""
        x = self.conv(self.features, (3, 3), padding=1, name="conv")(x)
        return self.act(self.norm(name="norm")(self.dropout()(x)))


class FractalBlock(nn.Module):
    """f_C: columns of 1, 2, 4, … layers with the same input, joined where they meet; 2x2 max-pool.

    The layers are `column1_layer1`; `column2_layer1`, `column2_layer2`; and so on. Column 1 is the
    shallowest.

    Attributes:
      pool: whether every column ends with the pool, before the last join.
      deepest_column: whether to compute only the deepest column; initialisation computes all.
    """

    features: int
    columns: int
    layer: Constructor
    pool: bool = True
    deepest_column: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, live: Sequence[jax.Array] | None = None) -> jax.Array:
        """Maps (N, H, W, C) to (N, H/2, W/2, features), with `pool`.

        Args:
          x: the maps.
          live: for each join, booleans [columns of the join] for the inputs to average, see
            `join_sizes`; None averages all.
        """
        depth = 2 ** (self.columns - 1)
        alone = self.deepest_column and not self.is_initializing()
        ends = [x] * self.columns
        for place in range(1, depth + 1):
            meeting = [
                c
                for c in range(self.columns - 1 if alone else 0, self.columns)
                if place % (depth >> c) == 0
            ]
            for c in meeting:
                name = f"column{c + 1}_layer{place // (depth >> c)}"
                ends[c] = self.layer(self.features, name=name)(ends[c])
                if self.pool and place == depth:
                    ends[c] = max_pool(ends[c], (2, 2), (2, 2))
            if len(meeting) > 1:
                inputs = [ends[c] for c in meeting]
                joined = join_mean(inputs, None if live is None else live[place // 2 - 1])
                for c in meeting:
                    ends[c] = joined
        return ends[-1]


class FractalNet(NormNetwork):
    """Fractal blocks, each pooled; global average pooling; linear classifier.

    `apply(variables, images, train=False)` maps (N, H, W, C), H and W at least 2^blocks, to logits
    (N, num_classes) in at least float32. With `train=True` the collection `batch_stats` must be
    mutable. An rng `dropout` is needed if a dropout rate is positive, and an rng `drop_path`, the
    same on every replica, if `drop_path_rate` is positive. Submodules: `stem` (optional), `stage1`,
    `stage2`, …, `classifier`.

    Drop-path draws once per mini-batch. It either drops each input of each join with probability
    `drop_path_rate`, keeping at least one ("local"), or keeps a single column in the whole network
    ("global"). A layer whose output is dropped is computed anyway and gets no gradient.

    The running statistics belong to the evaluated network. Mini-batches with local drop-path update
    them in all layers, because dropping an output does not change the layer itself. Mini-batches
    with global drop-path do not, because maps that are not averages have other variances. With
    `deepest_column` only those that kept this column update them. (The released code trains single
    columns with separate statistics.) To change a trained network from one mode to the other, apply
    it to some mini-batches with `train=True` and keep the parameters.

    Attributes:
      columns: C; a block is 2^(C-1) layers deep.
      stage_features: width of each block.
      dropout_rates: share of convolution outputs dropped, per block.
      drop_path_rate: share of join inputs dropped by local drop-path; 0 also disables global.
      global_drop_path_share: share of mini-batches with global drop-path; the others have local.
      deepest_column: whether to evaluate only the deepest column; set it in training too.
      stem_features: features of ResNet's stem, 7x7/2 with BN, ReLU and 3x3/2 max-pool; the last
        block is then not max-pooled. 0 omits the stem.

    Raises:
      UserError: if images are not of rank 4 or too small, there is less than one column, a rate is
        outside [0, 1], or `stage_features` and `dropout_rates` have different lengths.
    """

    num_classes: int = 10
    columns: int = 3
    stage_features: Sequence[int] = (64, 128, 256, 512, 512)
    dropout_rates: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4)
    drop_path_rate: float = 0.15
    global_drop_path_share: float = 0.5
    deepest_column: bool = False
    stem_features: int = 0

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns logits, or features if `num_classes` is 0; see the class."""
        self.check_fields()
        blocks = len(self.stage_features)
        check_images(images, 4 * 2 ** (blocks - 1) - 3 if self.stem_features else 2**blocks)
        live: Sequence[Sequence[jax.Array] | None] = [None] * blocks
        momentum: Any = self.norm_momentum
        if train and self.drop_path_rate > 0:
            live, updates = self.draw_live()
            momentum = jnp.where(updates, self.norm_momentum, 1.0)
        layers = self.layers(train, caffe_xavier, momentum)

        x = images
        if self.stem_features:
            x = ConvNormAct(self.stem_features, (7, 7), strides=2, **layers, name="stem")(x)
            x = max_pool(x, (3, 3), (2, 2), padding=1)
        for i, (features, rate) in enumerate(
            zip(self.stage_features, self.dropout_rates, strict=True)
        ):
            dropout = partial(Dropout, rate, deterministic=not train)
            x = FractalBlock(
                features,
                self.columns,
                partial(Layer, dropout=dropout, **layers),
                pool=not self.stem_features or i < blocks - 1,
                deepest_column=self.deepest_column and not train,
                name=f"stage{i + 1}",
            )(x, live[i])
        return self.classify(global_average_pool(x), caffe_xavier)

    def draw_live(self) -> tuple[list[list[jax.Array]], jax.Array]:
        """Draws drop-path for a mini-batch.

        Returns:
          Booleans for the inputs that the joins average, for each block and join.
          Whether the mini-batch updates the running statistics.
        """
        kind, chosen, local = jax.random.split(self.make_rng("drop_path"), 3)
        in_global = jax.random.bernoulli(kind, self.global_drop_path_share)
        column = jnp.arange(self.columns) == jax.random.randint(chosen, (), 0, self.columns)

        def draw(key: jax.Array, inputs: int) -> jax.Array:
            # The output of a join without the chosen column is dropped later. Such a join averages
            # all its inputs, so that the following layers get finite maps.
            of_column = column[-inputs:] | ~jnp.any(column[-inputs:])
            return jnp.where(
                in_global, of_column, draw_live_inputs(key, inputs, self.drop_path_rate)
            )

        sizes = join_sizes(self.columns)
        live = [
            [draw(jax.random.fold_in(local, i * len(sizes) + j), n) for j, n in enumerate(sizes)]
            for i in range(len(self.stage_features))
        ]
        evaluated = in_global & column[-1] if self.deepest_column else ~in_global
        # If drop-path never runs the evaluated network, other mini-batches update the statistics.
        never = self.global_drop_path_share == (0 if self.deepest_column else 1)
        return live, evaluated | never

    def check_fields(self) -> None:
        """Raises `UserError` if the fields describe no valid network."""
        if self.columns < 1:
            raise UserError(f"columns={self.columns}: a block has 1 or more")
        if len(self.stage_features) != len(self.dropout_rates):
            raise UserError(
                f"stage_features={tuple(self.stage_features)} and dropout_rates="
                f"{tuple(self.dropout_rates)}: give one number for each block in both"
            )
        for field in ("drop_path_rate", "global_drop_path_share"):
            if not 0 <= getattr(self, field) <= 1:
                raise UserError(f"{field}={getattr(self, field)}: it must be from 0 to 1")


def narrow_fractalnet(columns: int, **fields: Any) -> FractalNet:
    """Returns the narrow network with a number of columns; `fields` are those of `FractalNet`."""
    chosen: dict[str, Any] = {
        "num_classes": 100,
        "columns": columns,
        "stage_features": (16, 32, 64, 128, 128),
        **fields,
    }
    return FractalNet(**{"dropout_rates": (0.0,) * len(chosen["stage_features"]), **chosen})


def fractalnet34(**fields: Any) -> FractalNet:
    """Returns the ImageNet network; `fields` are those of `FractalNet`."""
    chosen: dict[str, Any] = {
        "num_classes": 1000,
        "columns": 4,
        "stage_features": (128, 256, 512, 1024),
        "stem_features": 64,
        **fields,
    }
    return FractalNet(**{"dropout_rates": (0.0,) * len(chosen["stage_features"]), **chosen})
