from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.models.mobilenet import MobileNet


def init(model, size=32):
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


def widths(params):
    """Output channels of the stem and of each stage."""
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    stages = [f"stage{i}/block1/pointwise" for i in range(1, 6) if f"stage{i}" in params]
    return [flat[f"{path}/conv/kernel"].shape[-1] for path in ("stem", *stages)]


def convolutions(model, size):
    """(kernel, groups, map before, map after, channels after) of each, in order."""
    seen = []

    def collect(call, args, kwargs, context):
        y = call(*args, **kwargs)
        if isinstance(conv := context.module, nn.Conv):
            before, after, channels = args[0].shape[1], *y.shape[2:]
            seen.append((conv.kernel_size[0], conv.feature_group_count, before, after, channels))
        return y

    with nn.intercept_methods(collect):
        init(model, size)
    return seen


def test_layers_are_those_of_the_papers_table():
    expected = [(3, 1, 224, 112, 32)]
    channels = 32
    for before, after, features in [
        (112, 112, 64),
        *[(112, 56, 128), (56, 56, 128)],
        *[(56, 28, 256), (28, 28, 256)],
        *[(28, 14, 512), *[(14, 14, 512)] * 5],
        *[(14, 7, 1024), (7, 7, 1024)],
    ]:
        expected += [(3, channels, before, after, channels), (1, 1, after, after, features)]
        channels = features
    assert convolutions(create_model("mobilenet_v1_100"), 224) == expected


def test_variants_have_the_layers_of_the_paper():
    ordinary = convolutions(create_model("mobilenet_v1_fullconv"), 224)
    separable = convolutions(create_model("mobilenet_v1_100"), 224)
    assert {layer[:2] for layer in ordinary} == {(3, 1)}
    assert [
        (depthwise[2], pointwise[4])
        for depthwise, pointwise in zip(separable[1::2], separable[2::2], strict=True)
    ] == [(layer[2], layer[4]) for layer in ordinary[1:]]
    shallow = convolutions(create_model("mobilenet_v1_shallow"), 224)
    assert shallow == separable[:-14] + separable[-4:]


@pytest.mark.parametrize(
    ("multiplier", "expected"),
    [
        (0.25, [8, 16, 32, 64, 128, 256]),
        (0.3, [9, 19, 38, 76, 153, 307]),  # rounded down, not to multiples of eight
        (1.25, [40, 80, 160, 320, 640, 1280]),
    ],
)
def test_multiplier_thins_every_layer(multiplier, expected):
    params = init(MobileNet(width_multiplier=multiplier))
    assert widths(params) == expected
    assert params["classifier"]["kernel"].shape == (expected[-1], 1000)


@pytest.mark.slow
def test_head_is_a_1x1_that_the_multiplier_leaves_alone():
    params = init(MobileNet(width_multiplier=0.5, head_features=1024))
    assert params["head"]["conv"]["kernel"].shape == (1, 1, 512, 1024)
    assert params["classifier"]["kernel"].shape == (1024, 1000)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize(("padding", "seen"), [("SAME", 2), ("keras", 2), ("symmetric", 3)])
def test_padding_at_stride_two(padding, seen, separable):
    """Kernels have one tap, the top left: SAME moves by 0, 1, 0 pixels, the other by 1, 1, 1."""
    model = MobileNet(
        0, stage_sizes=(1, 1), features=(1, 1, 1), padding=padding, separable=separable
    )
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 16, 16, 1)))

    def draw(path, leaf):
        tap = np.zeros(leaf.shape, leaf.dtype)
        tap[(0, 0) if path[-1] == "kernel" else ...] = path[-1] not in ("bias", "mean")
        return tap

    variables = flax.traverse_util.path_aware_map(draw, shapes)
    pixels = jnp.stack([jnp.zeros((16, 16, 1)).at[i, i].set(1) for i in range(5)])
    features = model.apply(variables, pixels)
    assert np.flatnonzero(features[:, 0]).tolist() == [seen]


@pytest.mark.parametrize(("fields", "rate"), [({}, 1e-3), ({"dropout_rate": 0.2}, 0.2)])
def test_dropout_in_training_only(fields, rate):
    seen = []

    def collect(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            seen.append((context.module.rate, context.module.deterministic, args[0].ndim))
        return call(*args, **kwargs)

    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    for train in (False, True):
        with nn.intercept_methods(collect):
            start = partial(create_model("mobilenet_v1_100", **fields).init, train=train)
            jax.eval_shape(start, jax.random.key(0), images)
    assert seen == [(rate, True, 2), (rate, False, 2)]


@pytest.mark.parametrize("size", [1, 33])
def test_any_size_will_do(size):
    for padding in ("SAME", "symmetric"):
        assert init(MobileNet(padding=padding), size)


@pytest.mark.parametrize("separable", [True, False])
def test_keras_drops_the_last_odd_pixel_where_a_stage_begins(separable):
    fields = {"stage_sizes": (1, 1, 1), "features": (4, 4, 4, 4), "separable": separable}
    for padding, sizes in (("keras", {17, 9, 4, 2}), ("SAME", {17, 9, 5, 3})):
        found = convolutions(MobileNet(padding=padding, **fields), 17)
        assert {size for _, _, *before_and_after, _ in found for size in before_and_after} == sizes
    with pytest.raises(UserError, match="takes 7x7 or larger"):
        init(MobileNet(padding="keras", **fields), 6)
    assert init(MobileNet(padding="keras", **fields), 7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"padding": "valid"}, "choose one of SAME, keras, symmetric"),
        ({"width_multiplier": 0.01}, "0.03125 or more"),
        ({"stage_sizes": (1, 2)}, "2 stages need 3 numbers"),
    ],
)
def test_impossible_fields_say_so(fields, message):
    with pytest.raises(UserError, match=message):
        init(create_model("mobilenet_v1_100", **fields))
