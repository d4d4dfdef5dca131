"""Every field of a config is in the table of checks, and no value passes that cannot be."""

import math
import time

import pytest

from jaxcnn.config import config_dict, schema
from jaxcnn.config.build import DTYPES
from jaxcnn.data.augmentation import augment
from jaxcnn.errors import UserError
from jaxcnn.evaluation import multicrop
from jaxcnn.models import googlenet
from jaxcnn.training import losses

VALUES = (
    *(math.nan, math.inf, -math.inf, -1, -0.5, 0, 2**63, 10**12, 1e300, True, None),
    *("", "nan", "3", "-1epochs", "9" * 5000 + "steps", "1000000000000epochs", "a\nb", "("),
    *((), (math.nan,), (-1, 3), (1, 2, 3), ("(",), ("x", math.inf), ((0.5, 10**12),), [[]], {}),
)


def put(config, field, value):
    *sections, name = field.split(".")
    for section in sections:
        config = config[section]
    with config.ignore_type():
        config[name] = value


def test_every_field_is_in_the_table():
    declared = set(config_dict.flatten(config_dict.base_config())) - {"model.overrides"}
    assert declared == set(schema.CHECKS)
    config_dict.freeze(config_dict.base_config())


def refusal(config):
    try:
        config_dict.freeze(config)
    except UserError as error:
        return str(error)
    return ""


def leaves(value):
    return [leaf for one in value for leaf in leaves(one)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("field", schema.CHECKS)
def test_a_wrong_value_is_one_line_that_names_the_field(field):
    for value in VALUES:
        config = config_dict.base_config()
        put(config, field, value)
        begun = time.monotonic()
        if line := refusal(config):
            assert line.startswith(field) or field == "data.image_size"
            assert "\n" not in line
        else:
            numbers = [leaf for leaf in leaves(value) if isinstance(leaf, int | float)]
            assert all(math.isfinite(number) and number < 2**40 for number in numbers)
        assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("seed", 2**63, "seed=9223372036854775808 is not a whole number from 0 to 4,294,967,295"),
        ("seed", -1, "seed=-1 is not"),
        ("train.length", "3", "train.length='3' is not a length: write it as 8epochs"),
        ("train.length", "never", "train.length='never' is not positive"),
        ("log.every", "2", "log.every='2' is not a length"),
        (
            "schedule.boundaries",
            ("3",),
            r"schedule.boundaries=('3',) is not a tuple, each value of",
        ),
        ("optimizer.name", "sdg", "optimizer.name='sdg' is not possible: did you mean sgd"),
        ("optimizer.weight_decay", -1e-4, "optimizer.weight_decay=-0.0001 is not a number from 0"),
        ("data.mixup", math.nan, "data.mixup=nan is not"),
        ("data.mean", (0.1, 0.2), "data.mean=(0.1, 0.2) has 2 numbers: give 1 or as many as"),
        ("data.std", (0.0,), "data.std=(0.0,) is not"),
        ("data.scale_range", (480, 256), "data.scale_range=(480, 256) must increase"),
        ("model.overrides.num_classes", 10, "model.overrides.num_classes cannot be set: the data"),
        ("model.overrides.dtype", "x", "model.overrides.dtype cannot be set: set --config.model"),
        ("model.overrides.dropout_rate", 1.5, "model.overrides.dropout_rate=1.5 is not a number"),
        ("model.overrides.dropout_rates", (0.1, math.nan), "model.overrides.dropout_rates=(0.1, n"),
        ("model.overrides.survival_probability", -0.1, "model.overrides.survival_probability="),
        ("model.overrides.width", 10**9, "model.overrides.width=1000000000 is not a number"),
        (
            "model.overrides.stages",
            ((1, math.inf),),
            "model.overrides.stages=((1, inf),) has a part that is not",
        ),
        (
            "model.overrides.stage_sizes",
            (100_000,),
            "model.overrides.stage_sizes=(100000,) has a part that is not a whole number",
        ),
        (
            "model.overrides.stage_sizes",
            (1, -1),
            "model.overrides.stage_sizes=(1, -1) has a part that is not a whole number",
        ),
        (
            "model.overrides.stage_sizes",
            (1.5,),
            "model.overrides.stage_sizes=(1.5,) has a part that is not a whole number",
        ),
        (
            "model.overrides.stage_sizes",
            (1500, 1500),
            "model.overrides.stage_sizes=(1500, 1500) makes 3,000 units: 2,000 at most",
        ),
        (
            "model.overrides.depth",
            10**5,
            "model.overrides.depth=100000 is not a whole number from 0 to 2,000",
        ),
        (
            "model.overrides.columns",
            40,
            "model.overrides.columns=40 is not a whole number from 1 to 10",
        ),
    ],
)
def test_messages(field, value, message):
    config = config_dict.base_config()
    put(config, field, value)
    with pytest.raises(UserError) as caught:
        config_dict.freeze(config)
    assert str(caught.value).startswith(message)


def test_rows_of_a_network_s_table_keep_their_names():
    config = config_dict.base_config()
    config.model.overrides.modules = [googlenet.Widths(8, 8, 8, 8, 8, 8)]
    (widths,) = config_dict.freeze(config).model.overrides["modules"]
    assert widths == googlenet.Widths(8, 8, 8, 8, 8, 8)
    assert widths._fields == googlenet.Widths._fields


def test_what_does_not_fit_into_memory_is_refused():
    config = config_dict.base_config()
    config.data.update(image_size=4096)
    config.train.batch_size = 10**6
    with pytest.raises(UserError, match=r"train\.batch_size=1000000 of 4096x4096x3 are 46,875 GiB"):
        config_dict.freeze(config)
    config.train.batch_size = 1
    config.data.update(kind="synthetic", num_examples=10**6)
    with pytest.raises(UserError, match=r"data\.num_examples=1000000 of .* lower it"):
        config_dict.freeze(config)


def test_choices_are_those_of_the_code():
    def names(field):
        config = config_dict.base_config()
        put(config, field, None)
        with pytest.raises(UserError) as caught:
            config_dict.freeze(config)
        return set(str(caught.value).partition("is not one of ")[2].split(", "))

    assert names("loss.name") == set(losses.LOSSES)
    assert names("eval.protocol") == set(multicrop.PROTOCOLS)
    assert names("model.dtype") == set(DTYPES)
    assert names("data.auto_augment") == {"none", *augment.AUTO_AUGMENTS}
    assert names("data.random_erasing_fill") == set(augment.FILLS)
