"""A network to look at has its preprocessing with it, wherever its weights are from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.errors import UserError
from jaxcnn.inspection import subject
from jaxcnn.interop.folder import write_folder
from jaxcnn.run.trained import open_trained


@pytest.mark.slow
def test_a_run_s_network_is_the_one_that_load_gives(photo_run):
    found, loaded = subject.of_run(photo_run.workdir), jaxcnn.load(photo_run.workdir)
    image = np.full((1, 16, 16, 3), 90, np.uint8)
    np.testing.assert_array_equal(found.network.predict(image), loaded.predict(image))
    assert found.title.endswith("run, step 4")
    assert found.workdir == photo_run.workdir


@pytest.mark.slow
def test_converted_weights_are_normalised_as_their_paper_does(tmp_path):
    overrides = {"stage_sizes": (1, 1), "width": 4, "num_classes": 3}
    model = jaxcnn.create_model("resnet18", **overrides)
    variables = jax.tree.map(
        np.asarray, jax.jit(model.init)(jax.random.key(0), jnp.ones((1, 32, 32, 3)))
    )
    names = {"library": "torchvision", "name": "resnet18", "source": "x.npz"}
    write_folder(tmp_path / "w", model, variables, overrides=overrides, **names)
    found = subject.of_trained(open_trained(tmp_path / "w"))
    assert found.network.image_shape == (224, 224, 3)
    assert found.network.class_names == ("0", "1", "2")
    black = np.asarray(found.network.normalize(np.zeros((1, 8, 8, 3), np.uint8)))[0, 0, 0]
    np.testing.assert_allclose(
        black, -np.array([0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225]), rtol=1e-5
    )
    chosen = jax.tree.map(np.testing.assert_array_equal, found.network.variables, variables)
    assert chosen
    with pytest.raises(UserError, match="is not the workdir of a run"):
        subject.of_trained(open_trained(tmp_path))


@pytest.mark.slow
def test_a_fresh_network_has_the_weights_of_seed_0_and_any_size_that_it_takes():
    found = subject.of_name("cifar_resnet20", 16)
    assert found.network.image_shape == (16, 16, 3)
    assert found.title == "cifar_resnet20, random weights"
    assert np.isfinite(found.network.predict(np.zeros((1, 16, 16, 3), np.uint8))).all()
    with pytest.raises(UserError, match="no model named 'resnet19'"):
        subject.of_name("resnet19")
    with pytest.raises(UserError, match="lenet5_modern takes no images of 4x4x1"):
        subject.of_name("lenet5_modern", 4)
