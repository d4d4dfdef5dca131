"""`remat` keeps less for the backward pass, and changes neither variables nor numbers."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.config import build, config_dict, programs
from jaxcnn.data.datasets.synthetic import load_synthetic
from jaxcnn.models.bn_inception import BNInception
from jaxcnn.models.densenet import DenseNet
from jaxcnn.models.googlenet import GoogLeNet, Widths
from jaxcnn.models.identity_mappings import VariantBasicBlock, VariantResNet
from jaxcnn.models.inception_v3 import InceptionV3
from jaxcnn.models.inception_v4 import InceptionResNet, InceptionV4
from jaxcnn.models.preact_resnet import PreActBasicBlock, PreActBottleneck, PreActResNet
from jaxcnn.models.resnet import BasicBlock, Bottleneck, ResNet
from jaxcnn.models.stochastic_depth import StochasticDepthResNet
from jaxcnn.run import compiler_options, distributed
from tests.marks import exhaustive
from tests.models import test_scan_units as more
from tests.models.test_scan_units import small

KEPT = "--xla_disable_hlo_passes=cse_barrier_expander"
inception = {**more.inception, "stage_sizes": (1, 3, 1)}
NETWORKS = {
    "basic": partial(ResNet, block=BasicBlock, **small),
    "bottleneck": partial(ResNet, block=partial(Bottleneck, stride_first=True), **small),
    "loop": partial(ResNet, block=BasicBlock, scan_units=True, **small),
    "pre-activation": partial(PreActResNet, block=PreActBottleneck, **small),
    "dropout": partial(PreActResNet, block=PreActBasicBlock, dropout_rate=0.3, **small),
    "ordering": partial(
        VariantResNet, block=VariantBasicBlock, ordering="bn_after_addition", **small
    ),
    "stochastic depth": partial(StochasticDepthResNet, block=BasicBlock, **small),
    "skipping": partial(StochasticDepthResNet, block=BasicBlock, skip_dropped=True, **small),
    "GoogLeNet": partial(
        GoogLeNet,
        num_classes=3,
        modules=[[Widths(*6 * [16])] * size for size in (1, 2, 1)],
        dropout_rate=0.0,
    ),
    "BN-Inception": partial(BNInception, num_classes=3),
    "Inception v3": partial(InceptionV3, num_classes=3, dropout_rate=0.0),
    "Inception-v4": partial(InceptionV4, **inception),
    "Inception-ResNet": partial(InceptionResNet, **inception),
    "Inception-ResNet, loop": partial(InceptionResNet, scan_units=True, **inception),
}
IN_THE_GATE = ("loop", "dropout", "GoogLeNet")
LONG = ("BN-Inception", "Inception v3")


def side(model):
    residual = isinstance(model, ResNet | PreActResNet)
    return 8 if residual else 75 if isinstance(model, InceptionV3) else 32


def trained(model, variables, images):
    """Loss and statistics, and the gradients, of a step of training."""

    def loss(params):
        rngs = {"drop_path": jax.random.key(5), "dropout": jax.random.key(6)}
        logits, updated = model.apply(
            {**variables, "params": params}, images, train=True, rngs=rngs, mutable=["batch_stats"]
        )
        return jnp.sum(jnp.sin(logits)), updated

    return jax.value_and_grad(loss, has_aux=True)(variables["params"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in IN_THE_GATE else pytest.mark.exhaustive)
        for name in NETWORKS
    ],
)
def test_recomputing_changes_no_number(name):
    double = {"dtype": jnp.float64, "param_dtype": jnp.float64}
    plain, again = (NETWORKS[name](remat=remat, **double) for remat in (False, True))
    with jax.enable_x64(True):
        pixels = side(plain)
        images = np.random.default_rng(0).normal(size=(2, pixels, pixels, 3))
        variables = jax.jit(plain.init)(jax.random.key(0), images)
        forms = [jax.eval_shape(model.init, jax.random.key(0), images) for model in (plain, again)]
        chex.assert_trees_all_equal_shapes_and_dtypes(*forms)
        outcomes = [jax.jit(partial(trained, m))(variables, images) for m in (again, plain)]
        chex.assert_trees_all_close(*outcomes, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["ResNet", exhaustive("DenseNet")])
def test_a_program_holds_less(network):
    deep = {"num_classes": 3, "stage_sizes": (6,), "cifar_stem": True}
    make = {
        "ResNet": partial(ResNet, block=BasicBlock, width=16, **deep),
        "DenseNet": partial(DenseNet, growth_rate=16, **deep),
    }[network]
    images = jax.ShapeDtypeStruct((16, 16, 16, 3), jnp.float32)

    def memory(model):
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
        lowered = jax.jit(partial(trained, model)).lower(variables, images)
        compiled = lowered.compile(compiler_options=compiler_options.for_train_step(model.remat))
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(make(remat=True)) < 0.8 * memory(make())


def programs_of_run(units, **overrides):
    config = config_dict.base_config()
    config.model.name = "cifar_resnet20"
    config.model.overrides = {"stage_sizes": (units,), **overrides}
    config.train.batch_size = 64
    dataset = load_synthetic("train", image_size=16, channels=3, num_classes=2, num_examples=64)
    plan = build.make_plan(config, dataset.num_examples)
    return programs.make_programs(config_dict.freeze(config), dataset, dataset, plan)


@pytest.mark.slow
def test_the_step_of_a_run_holds_less():
    batch = {"image": np.zeros((4, 16, 16, 16, 3), np.uint8)}
    for name in ("label", "index", "epoch", "repeat"):
        batch[name] = np.zeros((4, 16), np.int32)
    batch["weight"] = np.ones((4, 16), np.float32)

    def memory(remat):
        made = programs_of_run(6, remat=remat)
        compiled = made.train_step.lower(made.initial.state_shape, batch).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(True) < 0.8 * memory(False)


@pytest.mark.parametrize(
    ("remat", "flags", "platform", "processes", "said"),
    [
        (True, "", "cpu", 1, False),
        (True, "", "cpu", 2, True),
        (False, "", "cpu", 2, False),
        (True, f"--xla_backend_optimization_level=0 {KEPT}", "cpu", 2, False),
        (True, "--xla_disable_hlo_passes=dce,cse_barrier_expander", "cpu", 1, False),
        (True, "--xla_disable_hlo_passes=dce", "cpu", 1, True),
        (True, "", "gpu", 2, False),
    ],
)
def test_a_run_says_where_it_saves_nothing(
    remat, flags, platform, processes, said, monkeypatch, caplog
):
    monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setattr(distributed, "platform", lambda: platform)
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    monkeypatch.setattr(compiler_options, "XLA_KEEPS_BARRIERS", False)
    programs_of_run(1, remat=remat)
    assert (compiler_options.NO_RECOMPUTATION in caplog.text) == said


def kept(model):
    """Numbers that the gradient keeps for its backward pass."""
    pixels = side(model)
    images = jax.ShapeDtypeStruct((4, pixels, pixels, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def backward(variables, images):
        def logits(params):
            rngs = {"drop_path": jax.random.key(5), "dropout": jax.random.key(6)}
            given = {**variables, "params": params}
            return model.apply(given, images, train=True, rngs=rngs, mutable=["batch_stats"])[0]

        return jax.vjp(logits, variables["params"])[1]

    leaves = jax.tree.leaves(jax.eval_shape(backward, variables, images))
    return sum(leaf.size for leaf in leaves if leaf.ndim == 4 and leaf.shape[0] == 4)


@pytest.mark.parametrize(
    "name",
    [exhaustive(name) if name in LONG else name for name in NETWORKS if "loop" not in name],
)
def test_recomputing_keeps_less(name):
    assert kept(NETWORKS[name](remat=True)) < 0.95 * kept(NETWORKS[name]())
