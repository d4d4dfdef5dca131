import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcnn.errors import UserError
from jaxcnn.models.dfn_mr import MergeAndRunNet

FIELDS = {"num_classes": 0, "stage_sizes": (2, 1), "width": 4}


def batch():
    return np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype(np.float32)


def layer(variables, path, x, strides=1, norm=True):
    """Convolution of the kernel's size and symmetric padding, BN."""
    params, stats = variables["params"], variables["batch_stats"]
    for name in path:
        params = params[name]
        stats = stats[name] if norm else None
    size = params["conv"]["kernel"].shape[0]
    conv = nn.Conv(
        params["conv"]["kernel"].shape[-1],
        (size, size),
        strides=strides,
        padding=size // 2,
        use_bias=False,
    )
    x = conv.apply({"params": params["conv"]}, x)
    if not norm:
        return x
    norm = nn.BatchNorm(use_running_average=True, epsilon=2e-5)
    return norm.apply({"params": params["norm"], "batch_stats": stats["norm"]}, x)


def test_two_lines_share_the_mean_of_both(start):
    model, x = MergeAndRunNet(**FIELDS), batch()
    v = start(model, x)

    def branch(block, line, x, strides=1):
        y = nn.relu(layer(v, (*block, line, "layer1"), x, strides))
        return layer(v, (*block, line, "layer2"), y)

    left = right = nn.relu(layer(v, ("stem",), x))
    for block in (("stage1", "block1"), ("stage1", "block2")):
        merged = 0.5 * (left + right)
        left, right = (
            nn.relu(merged + branch(block, "left", left)),
            nn.relu(merged + branch(block, "right", right)),
        )
    block = ("stage2", "block1")
    merged = 0.5 * (
        layer(v, (*block, "left_proj"), left, 2) + layer(v, (*block, "right_proj"), right, 2)
    )
    last = nn.relu(merged + branch(block, "left", left, 2) + branch(block, "right", right, 2))
    np.testing.assert_allclose(model.apply(v, x), last.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_imagenet_form_leaves_shortcuts_out_and_joins_the_lines(start):
    model = MergeAndRunNet(
        **FIELDS, bottleneck=True, cifar_stem=False, project=False, concatenate=True
    )
    x = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)
    v = start(model, x)
    assert set(v["params"]["stem"]) == {"conv"}

    def branch(block, line, x, strides=1):
        y = nn.relu(layer(v, (*block, line, "layer1"), x))
        y = nn.relu(layer(v, (*block, line, "layer2"), y, strides))
        return layer(v, (*block, line, "layer3"), y)

    stem = layer(v, ("stem",), x, 2, norm=False)
    stem = nn.max_pool(stem, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    block = ("stage1", "block1")
    left, right = nn.relu(branch(block, "left", stem)), nn.relu(branch(block, "right", stem))
    block = ("stage1", "block2")
    merged = 0.5 * (left + right)
    left, right = (
        nn.relu(merged + branch(block, "left", left)),
        nn.relu(merged + branch(block, "right", right)),
    )
    block = ("stage2", "block1")
    left = nn.relu(branch(block, "left", left, 2))
    right = nn.relu(branch(block, "right", right, 2))
    expected = np.concatenate([left, right], axis=-1).mean(axis=(1, 2))
    assert expected.shape == (2, 2 * 4 * 8)
    np.testing.assert_allclose(model.apply(v, x), expected, rtol=1e-4, atol=1e-5)


def test_lines_may_change_places(start):
    """A fused network again: nothing tells left from right."""
    model, x = MergeAndRunNet(**FIELDS), batch()
    variables = start(model, x)
    other = {"left": "right", "right": "left", "left_proj": "right_proj", "right_proj": "left_proj"}

    def mirrored(tree):
        return {other.get(k, k): mirrored(v) if isinstance(v, dict) else v for k, v in tree.items()}

    mirror = mirrored(variables)
    np.testing.assert_allclose(
        model.apply(mirror, x), model.apply(variables, x), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_widths_of_the_imagenet_network(trace):
    params = trace("dfn_mr_imagenet").variables["params"]
    widths = []
    for stage, size in zip((1, 2, 3, 4), (1, 2, 11, 2), strict=True):
        blocks = params[f"stage{stage}"]
        assert len(blocks) == size
        widths += {
            block["right"]["layer3"]["conv"]["kernel"].shape[-2:] for block in blocks.values()
        }
    assert widths == [(64, 256), (128, 512), (256, 1024), (512, 2048)]
    assert params["classifier"]["kernel"].shape == (4096, 1000)


def test_a_stage_needs_a_unit():
    with pytest.raises(UserError, match=r"stage_sizes=\(2, 0\)"):
        jax.eval_shape(
            MergeAndRunNet(stage_sizes=(2, 0)).init, jax.random.key(0), jnp.ones((1, 8, 8, 3))
        )
