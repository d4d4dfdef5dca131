"""`test/loss` is the main term of the run's own objective, wherever it stands; `nll` is beside."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn.config import build, build_data, recipes
from jaxcnn.evaluation import report
from jaxcnn.evaluation.evaluator import make_evaluator, make_predictor
from jaxcnn.run.distributed import replicate
from jaxcnn.training import losses, selection
from jaxcnn.training.fields import LossConfig
from tests.marks import exhaustive


def make(name, smoothing=0.0, protocol="center"):
    config = recipes.recipe("lenet5_modern", "synthetic")
    config.model.name = "highway_fc10"
    config.data.update(image_size=4, num_examples=30, num_classes=3, channels=1)
    config.loss.update(name=name, label_smoothing=smoothing, aux_weight=9.0)
    config.eval.update(protocol=protocol, batch_size=8)
    dataset = build_data.load_data(config, "test")
    model = build.make_model(config, 3)
    images = build_data.make_normalize(config)(jnp.asarray(dataset.images))
    start = jax.tree.map(lambda x: 3 * x, model.init(jax.random.key(1), images))
    variables = {"batch_stats": {}, **start}
    return config, dataset, model, variables, model.apply(variables, images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "smoothing"),
    [*(exhaustive(name, 0.0) for name in losses.LOSSES), ("cross_entropy", 0.2)],
)
def test_an_evaluation_s_loss_is_the_objective_s_main_term(name, smoothing):
    config, dataset, model, variables, logits = make(name, smoothing)
    labels = jnp.asarray(dataset.labels)
    # The objective itself, of a network without further heads.
    objective = losses.make_objective(LossConfig(name, smoothing, aux_weight=9.0))
    wanted = float(objective(logits, {}, labels, 0.5).mean())
    nll = float(optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean())
    assert wanted != pytest.approx(nll, rel=1e-2) or (name, smoothing) == ("cross_entropy", 0.0)
    found = make_evaluator(config, model, dataset)(replicate(variables))
    reported = report.means(make_predictor(config, model, dataset)(replicate(variables)))
    for results in (found, reported):
        assert results["loss"] == pytest.approx(wanted, rel=1e-5)
        assert results["nll"] == pytest.approx(nll, rel=1e-5)
    config.schedule.update(name="plateau", metric="loss")
    of_split = {f"test/{key}": value for key, value in found.items()}
    assert selection.plateau_value(config, of_split, "test") == found["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cross_entropy", "squared_hinge"])
def test_of_several_views_cross_entropy_alone_has_a_loss(name):
    config, dataset, model, variables, _ = make(name, protocol="flip")
    found = make_evaluator(config, model, dataset)(replicate(variables))
    assert ("loss" in found) == (name == "cross_entropy")
    predictions = make_predictor(config, model, dataset)(replicate(variables))
    own = -np.take_along_axis(predictions.log_probabilities, predictions.labels[:, None], 1).mean()
    assert found["nll"] == pytest.approx(own, rel=1e-5)
    assert report.means(predictions).keys() == found.keys() | {"ece"}
    alone = report.means(report.average([predictions, predictions]))
    assert "loss" not in alone
    assert alone["nll"] == pytest.approx(own, rel=1e-5)
