import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import create_model
from jaxcnn.errors import UserError
from jaxcnn.models.wide_resnet import cifar_wide_resnet, imagenet_wide_resnet


def test_k_widens_the_stages_and_not_the_stem(trace):
    params = trace("wrn_28_10").variables["params"]
    assert set(params["stem"]) == {"conv"}
    assert params["stem"]["conv"]["kernel"].shape == (3, 3, 3, 16)
    for stage, features in ((1, 160), (2, 320), (3, 640)):
        blocks = params[f"stage{stage}"]
        assert list(blocks) == ["block1", "block2", "block3", "block4"]
        assert {block["conv2"]["kernel"].shape for block in blocks.values()} == {
            (3, 3, features, features)
        }
        assert [name for name, block in blocks.items() if "proj" in block] == ["block1"]
        assert all("norm1" in block for block in blocks.values())


def test_of_equal_channels_the_first_unit_has_the_identity_as_its_shortcut(start):
    """k = 1: 16 channels behind the stem and in the first stage."""
    model = cifar_wide_resnet(10, 1, num_classes=0, stage_sizes=(1,), act=lambda x: x)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    variables = start(model, x)
    params = variables["params"]
    assert "proj" not in params["stage1"]["block1"]
    params["stage1"]["block1"]["conv2"]["kernel"] *= 0
    stem = np.asarray(
        jax.lax.conv_general_dilated(
            x,
            params["stem"]["conv"]["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
    ).mean((1, 2))
    stats, norm = variables["batch_stats"]["final_norm"], params["final_norm"]
    expected = (stem - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * norm["scale"] + norm["bias"]
    np.testing.assert_allclose(model.apply(variables, x), expected, rtol=1e-4, atol=1e-5)


def test_dropout_is_off_unless_asked_for(start):
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    fields = {"stage_sizes": (1,), "width": 4}
    plain = create_model("wrn_16_8", 5, **fields)
    dropping = create_model("wrn_16_8", 5, dropout_rate=0.3, **fields)
    assert plain.dropout_rate == 0
    variables = start(plain, x)

    @jax.jit
    def train(key):
        rngs = {"dropout": key}
        return dropping.apply(variables, x, train=True, mutable=["batch_stats"], rngs=rngs)[0]

    np.testing.assert_array_equal(plain.apply(variables, x), dropping.apply(variables, x))
    first, again, other = (train(jax.random.key(seed)) for seed in (2, 2, 3))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_imagenet_network_is_wide_inside_its_bottlenecks_only(trace):
    wide = trace("wide_resnet50_2").variables["params"]
    narrow = trace("resnet50").variables["params"]
    for stage, features in enumerate((64, 128, 256, 512), start=1):
        block, of_resnet = wide[f"stage{stage}"]["block1"], narrow[f"stage{stage}"]["block1"]
        assert block["conv2"]["kernel"].shape == (3, 3, 2 * features, 2 * features)
        assert block["conv3"]["kernel"].shape == (1, 1, 2 * features, 4 * features)
        assert block["proj"] == of_resnet["proj"]
    assert wide["stem"] == narrow["stem"]
    assert wide["classifier"] == narrow["classifier"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cifar_wide_resnet(27, 10), r"6n\+4"),
        (lambda: cifar_wide_resnet(4, 10), r"6n\+4"),
        (lambda: cifar_wide_resnet(28, 0), "1 or more"),
        (lambda: imagenet_wide_resnet(18), "no wide ResNet of depth 18"),
        (
            lambda: jax.eval_shape(
                create_model("resnet18", base_width=128).init,
                jax.random.key(0),
                jnp.ones((1, 32, 32, 3)),
            ),
            "BasicBlock has no inner width",
        ),
    ],
)
def test_what_does_not_exist_says_so(make, message):
    with pytest.raises(UserError, match=message):
        make()
