import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn import create_model
from jaxcnn.config import build, recipes
from jaxcnn.errors import UserError
from jaxcnn.layers.initializers import INITIALIZERS, he_normal, he_uniform, initializer

SHAPE = (3, 3, 40, 80)
IN, OUT = 9 * 40, 9 * 80

# Standard deviation, and the bound of those that have one.
EXPECTED = {
    "glorot_uniform": (math.sqrt(2 / (IN + OUT)), math.sqrt(6 / (IN + OUT))),
    "glorot_normal": (math.sqrt(2 / (IN + OUT)), None),
    "he_normal": (math.sqrt(2 / IN), None),
    "he_normal_fan_out": (math.sqrt(2 / OUT), None),
    "he_uniform": (math.sqrt(2 / IN), math.sqrt(6 / IN)),
    "caffe_xavier": (math.sqrt(1 / IN), math.sqrt(3 / IN)),
    "torch_uniform": (1 / math.sqrt(3 * IN), 1 / math.sqrt(IN)),
    "normal": (0.01, None),
    "normal_0.1": (0.1, None),
    "truncated_normal": (0.1 * 0.87962566, 0.2),
    "uniform": (0.05 / math.sqrt(3), 0.05),
    "lecun_1998": (2.4 / IN / math.sqrt(3), 2.4 / IN),
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_spread(name):
    kernel = np.asarray(initializer(name)(jax.random.key(0), SHAPE, jnp.float32))
    std, bound = EXPECTED[name]
    assert kernel.std() == pytest.approx(std, rel=0.01)
    assert abs(kernel.mean()) < 0.02 * std
    largest = np.abs(kernel).max()
    if bound is None:
        assert largest > 4 * std  # of 28,800 normal numbers
    else:
        assert 0.99 * bound < largest <= bound * 1.0001


@pytest.mark.parametrize("make", [he_normal, he_uniform])
def test_he_knows_the_slope_that_follows(make):
    spread = [
        float(make("fan_out", slope)(jax.random.key(0), SHAPE, jnp.float32).std())
        for slope in (0.0, 0.25)
    ]
    assert spread[0] == pytest.approx(math.sqrt(2 / OUT), rel=0.01)
    assert spread[1] / spread[0] == pytest.approx(1 / math.sqrt(1 + 0.25**2))


def test_initialisers_draw_in_the_type_asked_for():
    with jax.enable_x64(True):
        for init in INITIALIZERS.values():
            assert init(jax.random.key(0), (2, 3), jnp.float64).dtype == jnp.float64


def test_unknown_name():
    with pytest.raises(UserError, match="no initializer 'he_norm': did you mean he_normal"):
        initializer("he_norm")


def kernels(model, images):
    params = jax.jit(model.init)(jax.random.key(0), images)["params"]
    return {
        "/".join(key.key for key in path[:-1]): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if path[-1].key == "kernel"
    }


def test_all_convolutions_start_as_they_are_told_and_the_rest_as_ever():
    fields = {"stage_sizes": (1,), "width": 4, "zero_init_last": True}
    model = create_model("cifar_resnet110_v2", **fields)
    ones = model.clone(kernel_init=nn.initializers.ones)
    images = jnp.ones((1, 8, 8, 3))
    own, told = kernels(model, images), kernels(ones, images)
    assert own.keys() == told.keys() == {*EXPLICIT, "classifier", "stage1/block1/conv2"}
    np.testing.assert_array_equal(told["classifier"], own["classifier"])
    assert not told["stage1/block1/conv2"].any()  # zero_init_last
    for path in EXPLICIT:
        assert (told[path] == 1).all(), path


EXPLICIT = ("stem/conv", "stage1/block1/conv1")


def test_a_config_names_the_start_of_convolutions():
    config = recipes.recipe("lenet5_modern")
    assert build.make_model(config, 10).kernel_init is None
    config.model.kernel_init = "uniform"
    model = build.make_model(config, 10)
    found = kernels(model, jnp.ones((1, 16, 16, 1)))["c3"]
    assert np.abs(found).max() == pytest.approx(0.05, rel=0.02)
    hash(model)  # networks are static arguments
    config.model.overrides.kernel_init = "he_normal"
    assert build.make_model(config, 10).kernel_init is INITIALIZERS["he_normal"]
    del config.model.overrides["kernel_init"]
    config.model.kernel_init = "unifrom"
    with pytest.raises(UserError, match=r"no initializer 'unifrom': did you mean .*uniform"):
        build.make_model(config, 10)
