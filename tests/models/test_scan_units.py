"""Units in a loop are the units in a row: same variables, outputs, gradients and statistics."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.analysis import count_macs
from jaxcnn.errors import UserError
from jaxcnn.layers.inception_blocks import MAX, Layer, fork
from jaxcnn.models.densenet import DenseNet
from jaxcnn.models.inception_v4 import InceptionResNet, InceptionV4
from jaxcnn.models.preact_resnet import PreActBasicBlock, PreActResNet
from jaxcnn.models.resnet import BasicBlock, Bottleneck, ResNet
from jaxcnn.models.stochastic_depth import StochasticDepthResNet

small = {"num_classes": 3, "stage_sizes": (1, 3), "width": 4, "cifar_stem": True}
halve = fork([Layer(8, 3, 2, padding=0)], [MAX])
inception = {
    "num_classes": 3,
    "stem": (Layer(8, 3, 2),),
    "modules": [
        fork([Layer(width // 2)], [Layer(4), Layer(width // 2, 3)]) for width in (8, 16, 24)
    ],
    "reductions": (halve, halve),
    "stage_sizes": (1, 4, 3),
    "smallest": 32,
    "dropout_rate": 0.0,
}
dense = {"num_classes": 3, "stage_sizes": (1, 4), "growth_rate": 4, "cifar_stem": True}
NETWORKS = {
    "basic, A": partial(ResNet, block=BasicBlock, shortcut="A", **small),
    "bottleneck, C": partial(ResNet, block=Bottleneck, shortcut="C", **small),
    "pre-activation": partial(PreActResNet, block=PreActBasicBlock, **small),
    "first projects": partial(PreActResNet, shortcut="first", stem_norm=False, **small),
    "last unit strided": partial(
        PreActResNet, stride_last=True, **{**small, "stage_sizes": (4, 1)}
    ),
    "stochastic depth": partial(StochasticDepthResNet, block=BasicBlock, **small),
    "skipping": partial(StochasticDepthResNet, block=BasicBlock, skip_dropped=True, **small),
    "Inception-v4": partial(InceptionV4, **inception),
    "Inception-ResNet": partial(InceptionResNet, **inception),
    "DenseNet": partial(DenseNet, **dense),
    "DenseNet, plain": partial(DenseNet, bottleneck=False, **dense),
    "DenseNet, remat": partial(DenseNet, remat=True, **dense),
}

MORE = (  # what the others show, too
    *(
        "bottleneck, C",
        "pre-activation",
        "first projects",
        "last unit strided",
        "stochastic depth",
        "skipping",
        "Inception-v4",
        "Inception-ResNet",
    ),
    *("DenseNet, plain", "DenseNet, remat"),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.exhaustive if name in MORE else ()) for name in NETWORKS],
)
def test_a_loop_of_units_changes_no_number(name, start):
    row, loop = (NETWORKS[name](scan_units=scan) for scan in (False, True))
    side = 8 if isinstance(row, ResNet | PreActResNet | DenseNet) else 32
    images = np.random.default_rng(0).normal(size=(4, side, side, 3)).astype(np.float32)
    variables = start(row, images)
    forms = [jax.eval_shape(model.init, jax.random.key(0), images) for model in (row, loop)]
    assert jax.tree.structure(forms[0]) == jax.tree.structure(forms[1])

    def outcome(model, variables):
        def loss(params):
            logits, updated = model.apply(
                {**variables, "params": params},
                images,
                train=True,
                rngs={"drop_path": jax.random.key(5)},
                mutable=["batch_stats"],
            )
            return jnp.sum(jnp.sin(logits)), updated

        trained = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        return trained, model.apply(variables, images)

    expected, got = (jax.jit(partial(outcome, model))(variables) for model in (row, loop))
    chex.assert_trees_all_close(got, expected, rtol=1e-3, atol=1e-4)
    if name == "basic, A":
        before, (((_, after), _), _) = variables["batch_stats"], got
        unit = [stats["stage2"]["block3"] for stats in (before, after["batch_stats"])]
        assert all(np.all(old != new) for old, new in zip(*map(jax.tree.leaves, unit), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "side"),
    [
        (lambda depth: ResNet(**{**small, "stage_sizes": (depth,)}, scan_units=True), 8),
        (
            lambda depth: InceptionResNet(
                **{**inception, "stage_sizes": (depth, 1, 4)}, scan_units=True
            ),
            32,
        ),
        (lambda depth: DenseNet(**{**dense, "stage_sizes": (depth,)}, scan_units=True), 8),
    ],
    ids=["ResNet", "Inception-ResNet", "DenseNet"],
)
def test_a_loop_is_compiled_as_one_unit(make, side):
    def operations(depth):
        model, images = make(depth), jnp.ones((1, side, side, 3))
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
        return (
            jax.jit(model.apply).lower(variables, images).as_text().count("stablehlo.convolution")
        )

    assert operations(12) == operations(3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["basic, A", "DenseNet"])
def test_a_loop_has_the_multiply_adds_of_the_row(name):
    row, loop = (count_macs(NETWORKS[name](scan_units=scan), (8, 8, 3)) for scan in (False, True))
    assert row == loop


@pytest.mark.parametrize("make", [partial(PreActResNet, **small), partial(DenseNet, **dense)])
def test_a_loop_has_no_dropout(make):
    model = make(scan_units=True, dropout_rate=0.3)
    with pytest.raises(UserError, match="scan_units=False"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 8, 8, 3)))
