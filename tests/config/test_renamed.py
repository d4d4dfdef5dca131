"""Configs of older runs are read; whoever writes a former name is told the present one."""

import pytest

from jaxcnn.config import config_dict, flags, renamed, resume, schema
from jaxcnn.errors import UserError


@pytest.mark.parametrize(("old", "new"), renamed.RENAMED.items())
def test_a_former_name_is_read_from_a_workdir_and_refused_elsewhere(old, new):
    assert new in schema.FIELDS
    assert old not in schema.FIELDS
    config = config_dict.base_config()
    value = {"none": "randaugment", "noise": "mean", (): (("bias$", 2.0),)}
    default = schema.values_of(schema.RunConfig())[new]
    other = value.get(default) or ((0.1, 0.2) if isinstance(default, tuple) else default + 1)
    config_dict.set_field(config, new, other)
    saved = config_dict.to_saved(here := config_dict.freeze(config))
    section, field = old.split(".")
    saved[section][field] = saved[section].pop(new.rpartition(".")[2])
    before = str(saved)
    assert config_dict.from_saved(saved) == here
    assert config_dict.unknown_fields(saved) == {}
    resume.check_unchanged(here, saved, "runs/x")
    assert str(saved) == before

    with pytest.raises(UserError, match=f"no field '{old}': it is called {new} now$"):
        config_dict.set_field(config, old, other)
    config[section][field] = other  # as a config file, or a flag
    with pytest.raises(UserError, match=f"no field '{old}': it is called {new} now$"):
        config_dict.freeze(config)
    assert flags._instead(field) == f"set --config.{new}=…"


@pytest.mark.parametrize("saved", [None, [], {"train": 3}, {"train": {}}, {}])
def test_what_is_no_config_stays_what_it_is(saved):
    assert renamed.with_new_names(saved) == saved


def test_of_both_names_the_new_one_counts():
    saved = {"train": {"accumulate": 2, "grad_accum_steps": 4}}
    assert renamed.with_new_names(saved) == {"train": {"grad_accum_steps": 4}}
