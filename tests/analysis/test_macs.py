"""Multiply-adds: of every published network, of modules counted by hand, by layer."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax import lax

from jaxcnn import create_model
from jaxcnn.analysis import count_macs
from jaxcnn.errors import UserError
from jaxcnn.layers import Conv
from jaxcnn.models import MODELS
from jaxcnn.models.published import networks
from jaxcnn.ops import conv as ops_conv
from tests.marks import exhaustive

QUICK = {"lenet5_modern", "alexnet", "googlenet", "cifar_resnet20"}


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else exhaustive(n) for n in sorted(MODELS)],
)
def test_every_network_multiplies_as_published(name):
    """To the printed digits, six after the point of G; at the published size to the last one."""
    row = networks()[name]
    size, channels = row["input_size"][0], row["input_size"][2]
    printed = row["gmacs"] if isinstance(row["gmacs"], dict) else {str(size): row["gmacs"]}
    counted = {
        side: count_macs(create_model(name), (int(side), int(side), channels)) for side in printed
    }
    assert {side: round(macs / 1e9, 6) for side, macs in counted.items()} == printed
    assert counted[str(size)] == row["macs"]


# Layer by layer, as accounts of the cost of AlexNet print them.
CONVOLUTIONS = {
    "alexnet": [105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192],
    "alexnet_one_tower": [105_415_200, 447_897_600, 149_520_384, 224_280_576, 149_520_384],
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_alexnet_layer_by_layer(name):
    layers = count_macs(create_model(name), (227, 227, 3), per_layer=True)
    convolutions = {f"stage{i + 1}/conv": macs for i, macs in enumerate(CONVOLUTIONS[name])}
    dense = {"fc6/dense": 37_748_736, "fc7/dense": 16_777_216, "classifier": 4_096_000}
    assert layers == {**convolutions, **dense}
    assert list(layers) == [*convolutions, *dense]


class Unit(nn.Module):
    """A 3x3 in two groups, called in a method; 4·4 positions · 8 maps · 3·3·4 taps."""

    @nn.compact
    def __call__(self, x, _=None):
        return self.branch(x), None

    def branch(self, x):
        return Conv(8, (3, 3), padding=1, feature_group_count=2, name="conv")(x)


UNIT = 4 * 4 * 8 * 3 * 3 * 4


class Product(nn.Module):
    """A product in functions that are jitted themselves."""

    def __call__(self, x):
        return jax.jit(lambda x: jax.jit(jnp.dot)(x, jnp.ones((8, 8))))(x)


class Everything(nn.Module):
    def setup(self):
        self.stem = Conv(8, (3, 3), strides=2, padding=1)
        self.plain = Unit()
        self.remat = nn.remat(Unit)()
        self.jitted = nn.jit(Unit)()
        self.scanned = nn.scan(
            Unit, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
        )()
        self.product = Product()
        self.classifier = nn.Dense(5)

    def __call__(self, x, train=False):
        x = self.stem(x)
        for unit in (self.plain, self.remat, self.jitted, self.scanned, self.plain):
            x, _ = unit(x)
        x = self.classifier(self.product(nn.relu(x.mean((1, 2)))))
        return x @ jnp.ones((5, 5)) if not train else x @ jnp.ones((5, 50))


def test_a_module_counted_by_hand_layer_by_layer():
    expected = {
        "stem": 4 * 4 * 8 * 3 * 3 * 3,
        "plain/conv": 2 * UNIT,
        "remat/conv": UNIT,
        "jitted/conv": UNIT,
        "scanned/conv": 3 * UNIT,
        "product": 8 * 8,
        "classifier": 8 * 5,
        "": 5 * 5,
    }
    layers = count_macs(Everything(), (8, 8, 3), per_layer=True)
    assert layers == expected
    assert list(layers) == list(expected)
    assert count_macs(Everything(), (8, 8, 3)) == sum(expected.values())


class Apply(nn.Module):
    function: object

    def __call__(self, x):
        return self.function(x)


def convolve(conv, layout, x, kernel_shape):
    return conv(x, jnp.ones(kernel_shape), (2, 2), "SAME", dimension_numbers=layout)


@pytest.mark.parametrize("conv", [lax.conv_general_dilated, ops_conv.conv_general_dilated])
@pytest.mark.parametrize(
    ("layout", "kernel", "macs"),
    [
        # 6x8x4 images, NHWC: 3x4 positions, 10 maps, 3x5 taps, 4 channels
        (("NHWC", "HWIO", "NHWC"), (3, 5, 4, 10), 3 * 4 * 10 * 3 * 5 * 4),
        (("NHWC", "OIHW", "NCHW"), (10, 4, 3, 5), 3 * 4 * 10 * 3 * 5 * 4),
        # the same as NCHW: 6 channels, 4x2 positions
        (None, (10, 6, 3, 5), 4 * 2 * 10 * 3 * 5 * 6),
        # in two groups
        (("NHWC", "HWIO", "NHWC"), (3, 5, 2, 10), 3 * 4 * 10 * 3 * 5 * 2),
    ],
)
def test_every_layout_of_a_convolution(conv, layout, kernel, macs):
    groups = 2 if kernel[2] == 2 else 1
    convolution = partial(conv, feature_group_count=groups)
    model = Apply(lambda x: convolve(convolution, layout, x, kernel))
    assert count_macs(model, (6, 8, 4)) == macs


def test_mapped_convolutions_count_as_often_as_they_are_mapped():
    def mapped(x):
        kernels = jnp.ones((7, 3, 3, 4, 10))
        layout = ("NHWC", "HWIO", "NHWC")
        one = partial(
            ops_conv.conv_general_dilated,
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=layout,
        )
        return jax.vmap(one, in_axes=(None, 0))(x, kernels)

    assert count_macs(Apply(mapped), (6, 8, 4)) == 7 * 6 * 8 * 10 * 3 * 3 * 4


@pytest.mark.parametrize("reference", [True, False])
def test_a_lowering_counts_as_the_convolution_it_stands_for(reference):
    """A depthwise one: as sums of shifted images; as a dense one with a choice of the reference."""
    convolve = partial(
        lax.conv_general_dilated,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )

    @jax.jit
    def conv_general_dilated(x, kernel):
        if reference:
            dense = partial(convolve, rhs=kernel * jnp.eye(4)[None, None])
            depthwise = partial(convolve, rhs=kernel, feature_group_count=4)
            return lax.platform_dependent(x, cpu=dense, default=depthwise)
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        taps = [(i, j) for i in range(3) for j in range(3)]
        return sum(padded[:, i : i + 6, j : j + 8] * kernel[None, None, i, j] for i, j in taps)

    model = Apply(lambda x: conv_general_dilated(x, jnp.ones((3, 3, 1, 4))))
    assert count_macs(model, (6, 8, 4)) == 6 * 8 * 4 * 3 * 3


def test_of_branches_the_most_expensive_counts():
    def branches(x):
        x = x.reshape(-1, 4)
        cheap, dear = (
            (lambda x: x @ jnp.ones((4, 4))),
            (lambda x: x @ jnp.ones((4, 9)) @ jnp.ones((9, 4))),
        )
        x = lax.cond(x.sum() > 0, dear, cheap, x)
        x = lax.switch(jnp.int32(1), [dear, cheap, cheap], x)
        return lax.platform_dependent(x, cpu=cheap, default=dear)

    assert count_macs(Apply(branches), (2, 3, 4)) == 3 * (6 * 4 * 9 * 2)


def test_loops():
    def product(_, x):
        return x @ jnp.ones((4, 4))

    known = Apply(lambda x: lax.fori_loop(0, 5, product, x))
    assert count_macs(known, (2, 3, 4)) == 5 * 2 * 3 * 4 * 4
    unknown = Apply(lambda x: lax.while_loop(lambda x: x.sum() > 1, partial(product, 0), x))
    with pytest.raises(UserError, match="the network multiplies in a while loop"):
        count_macs(unknown, (2, 3, 4))
    harmless = Apply(lambda x: lax.while_loop(lambda x: x.sum() > 1, jnp.sin, x))
    assert count_macs(harmless, (2, 3, 4)) == 0


@pytest.mark.slow
def test_auxiliary_heads_do_not_count():
    with_heads = create_model("googlenet", aux_heads=True)
    assert count_macs(with_heads, (96, 96, 3)) == count_macs(create_model("googlenet"), (96, 96, 3))


def test_normalisation_pooling_and_activation_are_free():
    class Free(nn.Module):
        @nn.compact
        def __call__(self, x):
            from jaxcnn.ops.lrn import local_response_norm

            x = nn.BatchNorm(use_running_average=True)(local_response_norm(x))
            return nn.max_pool(nn.avg_pool(nn.gelu(x), (2, 2)), (2, 2)).mean((1, 2))

    assert count_macs(Free(), (8, 8, 6)) == 0


def test_nothing_is_allocated():
    """A terabyte of weights is no obstacle."""
    assert count_macs(nn.Dense(10**6), (10**6,)) == 10**12


def test_too_small_images_are_the_networks_affair():
    with pytest.raises(UserError, match="64x64 or larger"):
        count_macs(create_model("alexnet"), (32, 32, 3))


@pytest.mark.slow
def test_the_room_opens_when_used():
    program = """
import sys, jaxcnn
assert "jax" not in sys.modules
import jaxcnn.analysis
assert "jax" not in sys.modules
print(jaxcnn.analysis.count_macs(jaxcnn.create_model("lenet5_modern"), (32, 32, 1)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "416520\n"
