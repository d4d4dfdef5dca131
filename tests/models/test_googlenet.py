import math
from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.models.googlenet import Widths, caffe_lrn, caffe_xavier, slim_normal

# Of stage 2 every module puts out another number of channels: 6, 10, 14, 18.
NARROW = ([Widths(2, 2, 2, 2, 1, 1)], [Widths(w, 2, w, 2, w, 3) for w in (1, 2, 4, 5)])
NARROW = (*NARROW, [Widths(2, 2, 2, 2, 1, 1)])


def images(size, channels=3):
    return jax.ShapeDtypeStruct((2, size, size, channels), jnp.float32)


def shapes(name, size=224, channels=3, **fields):
    model = create_model(name, **fields)
    return jax.eval_shape(model.init, jax.random.key(0), images(size, channels))["params"]


def scalars(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def collected(kind, call):
    """Returns the modules of a class, or of several, that a call uses."""
    found = []

    def collect(method, args, kwargs, context):
        if isinstance(context.module, kind):
            found.append(context.module)
        return method(*args, **kwargs)

    with nn.intercept_methods(collect):
        jax.eval_shape(call)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn", "googlenet_torchvision"])
def test_maps_of_the_papers_table(name):
    model = create_model(name)
    run = partial(model.init_with_output, capture_intermediates=True, mutable=True)
    _, state = jax.eval_shape(run, jax.random.key(0), images(224))
    maps = state["intermediates"]
    assert maps["stem"]["__call__"][0].shape == (2, 28, 28, 192)
    for stage, size, channels in (
        ("stage1", 28, (256, 480)),
        ("stage2", 14, (512, 512, 512, 528, 832)),
        ("stage3", 7, (832, 1024)),
    ):
        for number, depth in enumerate(channels, start=1):
            out = maps[stage][f"block{number}"]["__call__"][0]
            assert out.shape == (2, size, size, depth)
        assert maps[stage]["__call__"][0].shape == out.shape


@pytest.mark.parametrize(
    ("name", "large"), [("googlenet", 5), ("googlenet_bn", 5), ("googlenet_torchvision", 3)]
)
def test_large_kernel_and_reductions_of_each_branch(name, large, trace):
    block = trace(name).variables["params"]["stage2"]["block4"]
    kernels = {
        path[:2]: leaf.shape
        for path, leaf in flax.traverse_util.flatten_dict(block).items()
        if path[-1] == "kernel"
    }
    assert kernels == {
        ("branch1", "conv1"): (1, 1, 512, 112),
        ("branch2", "conv1"): (1, 1, 512, 144),
        ("branch2", "conv2"): (3, 3, 144, 288),
        ("branch3", "conv1"): (1, 1, 512, 32),
        ("branch3", "conv2"): (large, large, 32, 64),
        ("branch4", "conv1"): (1, 1, 512, 64),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("googlenet", 13_378_280),
        ("googlenet_bn", 13_385_816),
        ("googlenet_torchvision", 13_004_888),
    ],
)
def test_parameters_with_auxiliary_heads(name, count):
    params = shapes(name, aux_heads=True)
    assert scalars(params) == count
    assert params["aux1_head"]["fc1"]["kernel"].shape == (2048, 1024)
    assert "aux1_head" not in shapes(name, aux_heads=True, num_classes=0)


def test_auxiliary_heads_read_the_first_and_the_fourth_module():
    params = shapes("googlenet", 79, aux_heads=True, modules=NARROW)
    kernels = [params[f"aux{i}_head"]["conv"]["conv"]["kernel"] for i in (1, 2)]
    assert [kernel.shape for kernel in kernels] == [(1, 1, 6, 128), (1, 1, 18, 128)]


@pytest.mark.slow
def test_auxiliary_logits_appear_where_they_are_asked_for():
    model = create_model("googlenet_torchvision", 7, aux_heads=True, modules=NARROW)
    init = partial(model.init, mutable=["params", "batch_stats"])
    variables = jax.eval_shape(init, jax.random.key(0), images(32))
    trained = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((2, 32, 32, 3)), True))
    assert set(variables) == set(trained) == {"params", "batch_stats"}
    assert jax.tree.structure(variables) == jax.tree.structure(trained)

    def run(**kwargs):
        rngs = {"dropout": jax.random.key(0)}
        return jax.eval_shape(partial(model.apply, rngs=rngs, **kwargs), variables, images(32))

    for train in (False, True):
        _, state = run(train=train, mutable=["aux", "batch_stats"])
        assert {name: logits.shape for name, logits in state["aux"].items()} == {
            "aux1": (2, 7),
            "aux2": (2, 7),
        }
    used = collected(nn.Dense, run)
    assert [dense.name for dense in used] == ["classifier"]


@pytest.mark.slow
def test_activation_is_replaced_in_the_auxiliary_heads():
    model = create_model("googlenet", aux_heads=True, modules=NARROW, act=jnp.tanh)
    variables = jax.eval_shape(model.init, jax.random.key(0), images(79))
    program = jax.make_jaxpr(partial(model.apply, mutable=["aux"]))(variables, images(79))
    assert str(program).count("= tanh") == 3 + 6 * 6 + 2 * 2


@pytest.mark.slow
def test_dropout_rates_of_the_classifiers():
    for name, rate in (("googlenet", 0.4), ("googlenet_torchvision", 0.2)):
        model = create_model(name, aux_heads=True)
        variables = jax.eval_shape(model.init, jax.random.key(0), images(224))
        run = partial(model.apply, train=True, mutable=True, rngs={"dropout": jax.random.key(0)})
        used = collected(nn.Dropout, partial(jax.eval_shape, run, variables, images(224)))
        assert [(drop.path[:-1], drop.rate, drop.deterministic) for drop in used] == [
            (("aux1_head",), 0.7, False),
            (("aux2_head",), 0.7, False),
            ((), rate, False),
        ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "smallest"), [("googlenet", 31), ("googlenet_bn", 31), ("googlenet_torchvision", 15)]
)
def test_smallest_image(name, smallest):
    shapes(name, smallest)
    with pytest.raises(UserError, match=f"{smallest}x{smallest} or larger"):
        shapes(name, smallest - 1)


@pytest.mark.slow
def test_auxiliary_heads_need_more_of_an_image_only_where_they_run():
    model = create_model("googlenet", aux_heads=True)
    variables = jax.eval_shape(model.init, jax.random.key(0), images(79))
    with pytest.raises(UserError, match="79x79 or larger"):
        jax.eval_shape(model.init, jax.random.key(0), images(78))
    jax.eval_shape(model.apply, variables, images(31))
    with pytest.raises(UserError, match="79x79 or larger"):
        jax.eval_shape(partial(model.apply, mutable=["aux"]), variables, images(31))
    jax.eval_shape(model.clone(adaptive_aux=True).init, jax.random.key(0), images(31))


def test_response_normalisation_stands_behind_the_first_pool_and_the_last_convolution():
    seen = []

    def lrn(x):
        seen.append(x.shape)
        return x

    shapes("googlenet", lrn=lrn)
    assert seen == [(2, 56, 56, 64), (2, 56, 56, 192)]
    for name in ("googlenet_bn", "googlenet_torchvision"):
        assert create_model(name).lrn is None


def test_response_normalisation_has_the_constants_of_caffe():
    x = np.full((1, 1, 1, 1), 300, np.float32)
    np.testing.assert_allclose(caffe_lrn(x), 300 * (1 + 1e-4 / 5 * 300**2) ** -0.75, rtol=1e-5)


@pytest.mark.slow
def test_transformed_input_is_that_of_pixels_from_minus_one_to_one(start):
    pixels = np.random.default_rng(0).uniform(size=(2, 15, 15, 3)).astype(np.float32)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    normalised = ((pixels - np.array(mean)) / np.array(std)).astype(np.float32)
    model = create_model("googlenet_torchvision", 5, modules=NARROW)
    variables = start(model, pixels)
    transforming = model.clone(transform_input=True)
    expected, got = jax.jit(
        lambda: (model.apply(variables, 2 * pixels - 1), transforming.apply(variables, normalised))
    )()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="1 channels"):
        shapes("googlenet_torchvision", 32, 1, transform_input=True)


@pytest.mark.slow
def test_weights_start_as_in_caffe_or_slim():
    for name, kernel, bias in (("googlenet", caffe_xavier, 0.2), ("googlenet_bn", slim_normal, 0)):
        model = create_model(name, modules=NARROW, aux_heads=True)
        init = partial(jax.eval_shape, model.init, jax.random.key(0), images(79))
        for layer in collected((nn.Conv, nn.Dense), init):
            assert layer.kernel_init is kernel
            if layer.use_bias:
                expected = 0 if layer.name == "classifier" else bias
                start = layer.bias_init(jax.random.key(0), (2,), jnp.float32)
                np.testing.assert_array_equal(start, np.float32([expected] * 2))
    weights = caffe_xavier(jax.random.key(0), (5, 5, 16, 32), jnp.float32)
    assert 0.99 < np.abs(weights).max() / math.sqrt(3 / (5 * 5 * 16)) <= 1


def test_naive_modules_are_as_wide_as_all_that_comes_in():
    """Figure 2a: 1x1, 3x3 and 5x5 on the input itself, and the pool passes all of it on."""
    params = shapes("googlenet", reduced=False)
    block = params["stage1"]["block1"]
    kernels = [leaf.shape for leaf in jax.tree.leaves(block) if len(leaf.shape) == 4]
    assert sorted(kernels) == [(1, 1, 192, 64), (3, 3, 192, 128), (5, 5, 192, 32)]
    first = params["stage1"]["block2"]["branch1"]["conv1"]["conv"]["kernel"]
    assert first.shape == (1, 1, 64 + 128 + 32 + 192, 128)
