import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import create_model
from jaxcnn.analysis import count_macs
from jaxcnn.errors import UserError
from jaxcnn.layers import minus_distances
from jaxcnn.layers.initializers import he_normal
from jaxcnn.models.lenet import C3_TABLE, CODES, LeNet5, LeNet5Modern

PIXELS = {"c1": 28 * 28, "s2": 14 * 14, "c3": 10 * 10, "s4": 5 * 5, "c5": 1, "f6": 1}


def conv(x, kernel, bias):
    windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(1, 2))
    return np.einsum("nhwcij,ijco->nhwo", windows, kernel) + bias


def quarters(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c)


def forward_in_numpy(params, x, act):
    def pool(x):
        return quarters(x).mean((2, 4))

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


@pytest.mark.slow
def test_smallest_image():
    assert (
        LeNet5Modern().init_with_output(jax.random.key(0), jnp.ones((1, 16, 16, 1)))[0].size == 10
    )
    with pytest.raises(UserError, match="16x16 or larger"):
        LeNet5Modern().init(jax.random.key(0), jnp.ones((1, 15, 16, 1)))


def published_in_numpy(params, x):
    """The paper's equations, with a full C3 whose missing connections are zero."""

    def f(a):
        return 1.7159 * np.tanh(2 * a / 3)

    def subsample(x, scale, bias):
        return f(scale * quarters(x).sum((2, 4)) + bias)

    p = jax.tree.map(np.asarray, params)
    full = np.zeros((5, 5, 6, 16))
    for number in range(6):
        seeing = [i for i, row in enumerate(C3_TABLE) if number in row]
        full[:, :, number, seeing] = p["c3"][f"map{number}"]["kernel"][:, :, 0]
    assert np.count_nonzero(full) == 1500
    x = subsample(f(conv(x, **p["c1"])), **p["s2"])
    x = subsample(f(conv(x, full, p["c3"]["bias"])), **p["s4"])
    x = x.reshape(len(x), -1)
    for name in ("c5", "f6"):
        x = f(x @ p[name]["kernel"] + p[name]["bias"])
    return -((x[:, None] - CODES[None]) ** 2).sum(-1)


@pytest.mark.slow
def test_the_published_network_layer_by_layer(start):
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 1)).astype(np.float32)
    variables = start(LeNet5(), x)
    logits = LeNet5().apply(variables, x)
    np.testing.assert_allclose(logits, published_in_numpy(variables["params"], x), rtol=1e-4)


def test_table_of_connections():
    """The paper's counts: each map of S2 is seen by ten of C3; 3, 4 and 6 inputs."""
    assert [sum(number in row for row in C3_TABLE) for number in range(6)] == [10] * 6
    assert [len(row) for row in C3_TABLE] == [3] * 6 + [4] * 9 + [6]
    assert len(set(C3_TABLE)) == 16


def test_connections_and_parameters_of_the_paper(trace):
    params = trace("lenet5").variables["params"]
    scalars = {name: sum(leaf.size for leaf in jax.tree.leaves(params[name])) for name in params}
    published = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164}
    assert scalars == published
    assert sum(scalars.values()) == 60_000
    # A weight and a bias connect once for each pixel of the map; a unit of an S layer has four
    # inputs with one coefficient, and a bias; the codes are 84 inputs of ten units.
    inputs = {"s2": 5 / 2, "s4": 5 / 2}
    connections = {name: scalars[name] * PIXELS[name] * inputs.get(name, 1) for name in scalars}
    assert connections["c1"] == 122_304
    assert connections["s2"] == 5_880
    assert connections["c3"] == 151_600
    assert sum(connections.values()) + CODES.size == 340_908


def test_only_connections_that_exist_are_computed():
    counts = count_macs(create_model("lenet5"), (32, 32, 1), per_layer=True)
    assert sum(n for path, n in counts.items() if path.startswith("c3/")) == 150_000
    assert counts[""] == 840  # the codes


@pytest.mark.slow
def test_any_table_of_connections(start):
    """Rows in any order, a map that nobody sees; each map sees its own and no other."""
    table = ((5, 0), (1,), (0, 1, 2, 3))
    model, x = LeNet5(table=table, num_classes=0), np.ones((1, 16, 16, 1), np.float32)
    variables = start(model, x)
    assert set(variables["params"]["c3"]) == {"bias", "map0", "map1", "map2", "map3", "map5"}
    c1 = variables["params"]["c1"]["kernel"]

    def c3(number):
        """C3's three maps with one map of C1, hence of S2, switched off."""
        changed = {**variables["params"]["c1"], "kernel": c1.copy()}
        if number is not None:
            changed["kernel"][..., number] = 0
        params = {**variables["params"], "c1": changed}
        _, state = model.apply({"params": params}, x, capture_intermediates=True, mutable=True)
        return np.asarray(state["intermediates"]["c3"]["__call__"][0])

    for number in range(6):
        moved = np.any(c3(number) != c3(None), axis=(0, 1, 2))
        np.testing.assert_array_equal(moved, [number in row for row in table])


def test_codes_are_drawn_digits_far_from_each_other():
    assert CODES.shape == (10, 84)
    assert set(np.unique(CODES)) == {-1, 1}
    distances = (CODES[:, None] != CODES[None]).sum(-1)
    assert distances[~np.eye(10, dtype=bool)].min() == 12
    drawn = CODES.reshape(10, 12, 7)
    assert np.all(drawn[:, 10:] == -1)
    seven = ["".join(" #"[int(pixel > 0)] for pixel in row) for row in drawn[7, :5]]
    assert seven == ["#######", "     ##", "     ##", "    ## ", "   ##  "]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_distances_to_centres(dtype):
    with jax.enable_x64(True):
        x = jnp.asarray(CODES + 0.1 * np.random.default_rng(0).normal(size=CODES.shape), dtype)
        found = minus_distances(x, CODES)
        exact = -((np.asarray(x, np.float64)[:, None] - CODES) ** 2).sum(-1)
        assert found.dtype == (jnp.float64 if dtype == "float64" else jnp.float32)
        np.testing.assert_allclose(found, exact, atol=1e-10 if dtype == "float64" else 1e-4)
        np.testing.assert_array_equal(found.argmax(-1), np.arange(10))


@pytest.mark.slow
def test_start_is_uniform_by_fan_in():
    x = jnp.zeros((1, 32, 32, 1))
    key = jax.random.key(0, impl="rbg")  # compiles in no time
    params = jax.jit(create_model("lenet5_softmax").init)(key, x)["params"]
    for name, fan_in in {"c1": 25, "c5": 400, "f6": 120, "classifier": 84}.items():
        largest = np.abs(params[name]["kernel"]).max()
        assert 0.9 * 2.4 / fan_in < largest <= 2.4 / fan_in
    for name in ("s2", "s4"):
        assert np.abs(params[name]["scale"]).max() <= 2.4 / 4
    kernels = np.concatenate([params["c3"][f"map{i}"]["kernel"] for i in range(6)], axis=2)
    seeing = [[len(row) for row in C3_TABLE if number in row] for number in range(6)]
    scaled = np.abs(kernels) * 25 * np.array(seeing) / 2.4
    assert scaled.max(axis=(0, 1)).min() > 0.7
    assert scaled.max() <= 1
    biases = [params[name]["bias"] for name in params]
    assert not any(np.any(bias) for bias in biases)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"output": "rfb"}, "'rfb'.*rbf"),
        ({"subsampling": ("trainable", "mean")}, "no subsampling 'mean'"),
        ({"subsampling": ("max",)}, "there are two"),
        ({"num_classes": 11}, "codes for 10 digits"),
        ({"table": ((0, 6),)}, "some of 6 maps"),
        ({"table": ((0, 0),)}, "once each"),
        ({"table": ((),)}, "some of 6 maps"),
    ],
)
def test_what_does_not_exist_says_so(fields, message):
    x = jax.ShapeDtypeStruct((1, 16, 16, 1), jnp.float32)
    with pytest.raises(UserError, match=message) as error:
        jax.eval_shape(LeNet5(**fields).init, jax.random.key(0), x)
    assert "\n" not in str(error.value)


def test_variants_by_fields():
    def names(**fields):
        x = jax.ShapeDtypeStruct((1, 16, 16, 1), jnp.float32)
        return set(jax.eval_shape(LeNet5(**fields).init, jax.random.key(0), x)["params"])

    assert names() == {"c1", "s2", "c3", "s4", "c5", "f6"}
    assert names(subsampling=("average", "max")) == {"c1", "c3", "c5", "f6"}
    assert names(output="softmax", num_classes=20) == names() | {"classifier"}


def test_packed_kernels_refuse_a_start_that_does_not_know_what_they_see():
    model = create_model("lenet5", kernel_init=he_normal())
    with pytest.raises(UserError, match="kernel_init"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
