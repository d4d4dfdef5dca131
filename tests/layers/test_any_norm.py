"""`norm` takes any normalisation of Flax, in every family that has one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.layers import BatchNorm
from jaxcnn.layers.norm import batch_norm
from jaxcnn.models import create_model

FAMILIES = {
    "alexnet": {},
    "bn_inception": {},
    "cifar_resnet110_sd": {"stage_sizes": (1, 1, 1)},
    "densenet_40_12": {"stage_sizes": (1, 1, 1), "growth_rate": 8},
    "dfn_fuse3_d20": {},
    "dfn_mr1": {"stage_sizes": (1, 1, 1)},
    "fractalnet20_cifar10": {"columns": 1},
    "googlenet": {},
    "inception_v3": {},
    "inception_v4": {"stage_sizes": (1, 1, 1)},
    "mobilenet_v1_100": {},
    "resnet18_v2": {},
    "resnext29_8x64d": {"stage_sizes": (1, 1, 1)},
    "vgg11_bn": {},
    "zfnet": {},
}
GROUPS = partial(nn.GroupNorm, num_groups=8)


QUICK = [("densenet_40_12", GROUPS), ("resnext29_8x64d", None), ("zfnet", nn.LayerNorm)]


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        pytest.param(name, norm, marks=[] if (name, norm) in QUICK else pytest.mark.exhaustive)
        for name in FAMILIES
        for norm in (GROUPS, nn.LayerNorm, None, nn.BatchNorm)
    ],
    ids=str,
)
def test_a_family_trains_with_any_normalisation(name, norm):
    images = jax.ShapeDtypeStruct((2, 96, 96, 3), jnp.float32)
    model = create_model(name, 5, norm=norm, **FAMILIES[name])
    variables = jax.eval_shape(partial(model.init, jax.random.key(0)), images)
    names = {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"])}
    assert ("scale" in names) is (norm is not None)
    assert ("batch_stats" in variables) is (norm is nn.BatchNorm)

    def step(variables, images):
        rngs = {"dropout": jax.random.key(0), "drop_path": jax.random.key(0)}
        mutable = ["batch_stats", "aux"]
        return model.apply(variables, images, train=True, mutable=mutable, rngs=rngs)[0]

    assert jax.eval_shape(step, variables, images).shape == (2, 5)


@pytest.mark.slow
def test_group_normalisation_is_flax_s():
    model = create_model("cifar_resnet20", 3, norm=GROUPS, stage_sizes=(1,), norm_epsilon=0.1)
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    variables = model.init(jax.random.key(0), x)
    _, seen = model.apply(variables, x, capture_intermediates=True)
    stem = seen["intermediates"]["stem"]
    normalised = nn.GroupNorm(8, epsilon=0.1).apply(
        {"params": variables["params"]["stem"]["norm"]}, stem["conv"]["__call__"][0]
    )
    np.testing.assert_array_equal(stem["norm"]["__call__"][0], normalised)


def test_without_normalisation_convolutions_have_a_bias():
    model = create_model("cifar_resnet20", norm=None, stage_sizes=(1,))
    shapes = jax.eval_shape(partial(model.init, jax.random.key(0)), jnp.zeros((1, 8, 8, 3)))
    assert set(shapes["params"]["stem"]) == {"conv"}
    assert set(shapes["params"]["stem"]["conv"]) == {"kernel", "bias"}


def test_what_a_partial_sets_stays():
    own = partial(BatchNorm, momentum=0.5, use_running_average=True, epsilon=0.25)
    settings = {"train": True, "momentum": 0.9, "epsilon": 1e-5, "dtype": None}
    module = batch_norm(own, **settings, param_dtype=jnp.float32)()
    assert (module.momentum, module.use_running_average, module.epsilon) == (0.5, True, 0.25)


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("resnet18", {"norm": "batch"}, "norm='batch' cannot be called"),
        ("resnet18", {"norm": nn.BatchNorm()}, "a module already"),
        ("resnet18", {"norm": nn.SpectralNorm}, "norm=SpectralNorm needs layer_instance"),
        ("resnet18", {"norm": lambda: None}, "has no name"),
        ("resnet18", {"norm": None, "zero_init_last": True}, "no scale"),
        (
            "cifar_resnet110_v2",
            {"norm": None, "zero_init_last": True, "ordering": "relu_only_preactivation"},
            "no scale",
        ),
        (
            "resnet18",
            {"norm": partial(nn.LayerNorm, use_scale=False), "zero_init_last": True},
            "no scale",
        ),
        ("densenet_40_12", {"norm": GROUPS, "scan_units": True}, "only BatchNorm"),
        ("ladder_mnist_mlp", {"norm": nn.BatchNorm}, "takes SplitBatchNorm"),
        ("ladder_conv_large_gamma", {"norm": None}, "takes SplitBatchNorm"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(name, fields, said):
    model = create_model(name, **fields)
    images = jnp.zeros((1, 32, 32, 3))
    with pytest.raises(UserError, match=said) as error:
        jax.eval_shape(partial(model.init, jax.random.key(0)), images)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_units_in_a_loop_take_any_normalisation():
    x = jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    unit = {"num_classes": 2, "stage_sizes": (3,), "width": 8, "norm": GROUPS}
    plain, looped = (create_model("cifar_resnet20", **unit, scan_units=s) for s in (False, True))
    variables = plain.init(jax.random.key(0), x)
    np.testing.assert_allclose(
        plain.apply(variables, x), looped.apply(variables, x), rtol=1e-5, atol=1e-6
    )
