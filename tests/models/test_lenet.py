import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.models.lenet import LeNet5Modern


def forward_in_numpy(params, x, act):
    def conv(x, kernel, bias):
        windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(1, 2))
        return np.einsum("nhwcij,ijco->nhwo", windows, kernel) + bias

    def pool(x):
        n, h, w, c = x.shape
        return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))

    p = jax.tree.map(np.asarray, params)
    x = pool(act(conv(x, **p["c1"])))
    x = pool(act(conv(x, **p["c3"])))
    x = x.reshape(len(x), -1)
    for name in ("c5", "f6"):
        x = act(x @ p[name]["kernel"] + p[name]["bias"])
    return x @ p["classifier"]["kernel"] + p["classifier"]["bias"]


@pytest.mark.parametrize(
    ("act", "in_numpy"), [(None, lambda x: np.maximum(x, 0)), (jnp.tanh, np.tanh)]
)
@pytest.mark.parametrize("size", [28, 32])
def test_forward_pass_layer_by_layer(act, in_numpy, size):
    model = LeNet5Modern() if act is None else LeNet5Modern(act=act)
    x = np.random.default_rng(0).normal(size=(2, size, size, 1)).astype(np.float32)
    variables = model.init(jax.random.key(0), x)
    np.testing.assert_allclose(
        model.apply(variables, x),
        forward_in_numpy(variables["params"], x, in_numpy),
        rtol=1e-4,
        atol=1e-5,
    )


def test_smallest_image():
    assert (
        LeNet5Modern().init_with_output(jax.random.key(0), jnp.ones((1, 16, 16, 1)))[0].size == 10
    )
    with pytest.raises(UserError, match="16x16 or larger"):
        LeNet5Modern().init(jax.random.key(0), jnp.ones((1, 15, 16, 1)))
