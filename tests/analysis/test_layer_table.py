"""The layer table: its sums are those of the registry, its counts those of the papers."""

import csv

import pytest
from flax import linen as nn

from jaxcnn import summary as command
from jaxcnn.analysis import count_macs, summary
from jaxcnn.errors import UserError
from jaxcnn.figures import layers
from jaxcnn.models import create_model, list_models, model_info

QUICK = ("lenet5", "alexnet", "nin_cifar10", "mobilenet_v1_100", "ladder_mlp")


def of(name, **overrides):
    return summary(create_model(name, **overrides), model_info(name).input_size)


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.exhaustive) for n in list_models()],
)
def test_sums_are_the_counts_of_the_registry(name):
    table, info = of(name), model_info(name)
    assert table.params == info.params
    assert table.macs == info.macs
    assert len({row.layer for row in table.rows}) == len(table.rows)


def test_connections_and_units_of_the_papers():
    """LeCun et al. 1998, §II.B; Krizhevsky et al. 2012: "650,000 neurons"."""
    assert "connections: 340,908" in of("lenet5").notes
    alexnet = of("alexnet")
    (units,) = [note for note in alexnet.notes if note.startswith("units")]
    assert units.endswith("659,272")
    assert alexnet.notes[0] == "parameters: dense 96.2%, conv 3.8%"


def test_connections_of_a_layer_of_lenet():
    by_name = {row.layer: row for row in of("lenet5").rows}
    published = {"c1": 122_304, "s2": 5_880, "s4": 2_000, "c5": 48_120, "f6": 10_164}
    assert {name: by_name[name].connections for name in published} == published
    c3 = sum(row.connections for name, row in by_name.items() if name.startswith("c3/"))
    assert c3 == 151_600


def test_separable_convolutions_cost_what_the_formula_says():
    """With N features behind a depthwise 3x3: 1/N + 1/9; Howard et al. 2017, §3.1."""
    model = create_model("mobilenet_v1_100", stage_sizes=(1,), features=(8, 32))
    (note,) = [one for one in summary(model, (32, 32, 3)).notes if "separable" in one]
    assert f"{1 / 32 + 1 / 9:.1%} of full ones" in note


def test_a_dense_block_has_a_connection_from_each_layer_to_each_later_one():
    notes = of("densenet_40_12", stage_sizes=(3, 5)).notes
    assert "stage1: 3 layers, 6 direct connections (L(L+1)/2)" in notes
    assert "stage2: 5 layers, 15 direct connections (L(L+1)/2)" in notes
    assert not [note for note in of("cifar_resnet20", stage_sizes=(1, 1)).notes if "direct" in note]


@pytest.mark.slow
def test_auxiliary_heads_are_rows_of_their_own():
    plain, with_heads = of("googlenet"), of("googlenet", aux_heads=True)
    unused = [row for row in with_heads.rows if row.kind == "unused"]
    assert sum(row.params for row in unused) == with_heads.params - plain.params > 0
    assert with_heads.macs == plain.macs


def test_the_command_writes_a_table_whose_sums_are_those_of_the_network(tmp_path, capsys):
    command.main(["lenet5_modern", "--image-size=20", f"--csv={tmp_path / 'l.csv'}"])
    printed = capsys.readouterr().out
    with open(tmp_path / "l.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0])[:8] == (
        *("layer", "kind", "output", "units", "params", "macs", "receptive_field", "stride"),
    )
    assert rows[0]["layer"] == "c1"
    assert rows[0]["output"] == "16x16x6"
    macs = count_macs(create_model("lenet5_modern"), (20, 20, 1))
    assert sum(int(row["macs"]) for row in rows) == macs
    assert f"{macs:,}" in printed


def test_depth_groups_layers():
    table = summary(create_model("cifar_resnet20", stage_sizes=(2, 1), width=4), (8, 8, 3))
    lines = layers.text(table, depth=2).splitlines()
    names = [line.split()[0] for line in lines]
    assert names[1:8] == [
        *("stem", "stem/conv", "stem/norm", "stem/relu"),
        *("stage1", "stage1/block1", "stage1/block2"),
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give the name of a network or --workdir"),
        (["lenet6"], "no model named 'lenet6'"),
        (["lenet5", "--image-size=0"], "--image-size=0 is too small"),
        (["lenet5", "--checkpoint=best"], "--checkpoint and --model are of a run"),
        (["lenet5", "--depth=-1"], "--depth=-1: give 0 or more"),
        (["lenet5", "--image-size=8"], "16x16 or larger"),
    ],
)
def test_mistakes(argv, message):
    with pytest.raises(UserError, match=message):
        command.main(argv)


def test_a_csv_file_has_no_formula(tmp_path):
    class Hostile(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            return nn.Dense(3, name="=cmd()")(x.reshape(len(x), -1))

    command._write_csv(summary(Hostile(), (2, 2, 1)), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == ["flatten", "'=cmd()"]
    assert all(tuple(row) == layers.COLUMNS for row in rows)


def test_a_page_has_the_sums():
    table = of("lenet5_modern")
    shown = [block.text for block in layers.blocks(table) if block.kind == "text"]
    assert shown[0] == "total: 12 layers, 61,706 parameters, 416,520 multiply-adds"
    assert shown[1:] == list(table.notes)


def test_markdown_has_a_row_for_each_stage_and_lists_few_layers():
    table = summary(create_model("cifar_resnet20", stage_sizes=(2, 1), width=4), (8, 8, 3))
    lines = layers.markdown(table).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in rows} == {7}
    assert [row[0] for row in rows[2:]] == [
        *("`stem`", "`stage1`", "`stage2`", "`global_avg_pool`", "`classifier`", "**total**"),
    ]
    assert rows[2][1] == "conv 3x3, 4, padding 1; batch_norm; relu"
    assert rows[3][1] == "14 layers"
    assert rows[-1][3:5] == [f"{table.params:,}", f"{table.macs:,}"]
    assert sum(int(row[3].replace(",", "") or 0) for row in rows[2:-1]) == table.params
