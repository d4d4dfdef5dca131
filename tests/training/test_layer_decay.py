"""Learning rates that decay from the classifier towards the input."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from jaxcnn.config import build, build_data, recipes
from jaxcnn.config.config_dict import freeze
from jaxcnn.config.programs import make_programs
from jaxcnn.errors import UserError
from jaxcnn.models import create_model
from jaxcnn.training import optim
from tests.models.test_contracts import build as build_small


def make_config(decay=0.5, **optimizer):
    config = recipes.recipe("resnet18")
    config.model.update(name="cifar_resnet20", overrides={"stage_sizes": (1, 1), "width": 4})
    config.optimizer.update(
        name="sgd", clip_norm=0.0, layer_decay=decay, weight_decay=0.0, momentum=0.0, **optimizer
    )
    return config


def updates(config, model, shape=(8, 8, 3), rate=1.0):
    """What one step of plain SGD adds to each parameter, for gradients of one."""
    config = freeze(config)
    parameters = build.parameters_by_depth(config, model, shape)
    optimizer = build.make_optimizer(
        config, total_steps=10, steps_per_epoch=1, parameters=parameters
    )
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    found, _ = optimizer.transform(rate).update(ones, optimizer.init(ones)["transform"], ones)
    flat = traverse_util.flatten_dict(jax.tree.map(np.asarray, found), sep="/")
    assert all(np.ptp(leaf) == 0 for leaf in flat.values())
    return {name: -float(leaf.flat[0]) for name, leaf in flat.items()}


SMALL = {"stage_sizes": (1, 1), "width": 4}


def test_each_submodule_has_a_lower_rate_than_the_next():
    found = updates(make_config(), create_model("cifar_resnet20", **SMALL), rate=0.8)
    levels = {"stem": 0.125, "stage1": 0.25, "stage2": 0.5, "classifier": 1}
    assert len(found) > 10
    for name, step in found.items():
        assert step == pytest.approx(0.8 * levels[name.split("/")[0]])


def test_it_multiplies_lr_multipliers():
    config = make_config(lr_multipliers=(("classifier", 10.0), ("^stem/conv", 3.0)))
    found = updates(config, create_model("cifar_resnet20", **SMALL))
    assert found["classifier/bias"] == pytest.approx(10)
    assert found["stem/conv/kernel"] == pytest.approx(0.375)
    assert found["stem/norm/scale"] == pytest.approx(0.125)


@pytest.mark.slow
def test_auxiliary_heads_are_at_the_top():
    """They are no part of the network at test time."""
    model = build_small("googlenet", aux_heads=True, adaptive_aux=True)
    found = updates(make_config(), model, (32, 32, 3))
    heads = {name: step for name, step in found.items() if name.startswith("aux")}
    assert heads
    assert set(heads.values()) == {1.0}
    assert found["stage2/block1/branch1/conv1/conv/kernel"] == pytest.approx(0.25)


def test_what_is_frozen_does_not_count():
    config = make_config(freeze=("^stem/", "^stage1/"))
    found = updates(config, create_model("cifar_resnet20", **SMALL))
    assert found["stage2/block1/conv1/kernel"] == pytest.approx(0.5)
    assert found["classifier/bias"] == pytest.approx(1)


def test_one_is_off():
    config = make_config(1.0)
    model = create_model("cifar_resnet20", **SMALL)
    assert set(updates(config, model).values()) == {1.0}
    assert build.parameters_by_depth(freeze(config), model, (8, 8, 3)) == ()


def test_a_run_gives_its_optimizer_the_order_of_its_layers():
    config = make_config()
    config.data.update(
        kind="synthetic", num_examples=20, num_classes=10, image_size=8, mean=(0.5,), std=(0.5,)
    )
    config.train.update(length="2steps", batch_size=4)
    config = freeze(config)
    dataset = build_data.load_data(config, "train")
    validation = build_data.load_data(config, "test")
    plan = build.make_plan(config, dataset.num_examples)
    programs = make_programs(config, dataset, validation, plan)
    params = jax.tree.map(
        lambda leaf: np.ones(leaf.shape, np.float32), programs.initial.state_shape.params
    )
    optimizer = programs.optimizer
    found, _ = optimizer.transform(1.0).update(params, optimizer.init(params)["transform"], params)
    assert float(found["stem"]["norm"]["scale"][0]) == pytest.approx(-0.125)


@pytest.mark.parametrize("decay", [0.0, 1.5, -1.0])
def test_a_decay_that_cannot_be_is_answered(decay):
    with pytest.raises(UserError, match=r"optimizer\.layer_decay=.*above 0"):
        freeze(make_config(decay))


def test_the_example_of_the_docstring():
    done = doctest.testmod(optim)
    assert done.attempted
    assert not done.failed
