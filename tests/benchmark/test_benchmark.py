"""The benchmark: whose turn it is, what it computes of times, and what it refuses."""

import json
import multiprocessing
import os
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from jaxcnn import create_model
from jaxcnn.benchmark import __main__ as command
from jaxcnn.benchmark import (
    feed,
    fit,
    measure,
    networks,
    operations,
    peers,
    random_operations,
    report,
    rounds,
    scale,
)
from jaxcnn.errors import UserError
from tests.marks import exhaustive, slow


def contender(name, turns):
    return rounds.Contender(name, lambda steps: turns.append((name, steps)), 0.0)


def test_contenders_take_turns():
    turns = []
    times = rounds.interleave([contender("a", turns), contender("b", turns)], 3, 0.0)
    # Of two runs the first is not timed.
    assert turns[2:] == [("a", 1), ("a", 1), ("b", 1), ("b", 1)] * 3
    assert [len(found) for found in times.values()] == [3, 3]


def test_ratios_are_taken_round_by_round():
    """A machine that is busy in one round slows both."""
    found = rounds.ratio([1.0, 10.0, 3.0], [2.0, 20.0, 2.0])
    assert found == (0.5, 0.5, 1.5)
    assert str(found) == "0.50 (0.50 to 1.50)"


def test_table_has_ratios_and_their_mean():
    found = [
        report.Measured(
            name,
            16,
            [contender("jaxcnn", []), contender("torchvision, eager, contiguous", [])],
            {"jaxcnn": [ours] * 3, "torchvision, eager, contiguous": [1.0] * 3},
        )
        for name, ours in (("one", 0.5), ("two", 2.0))
    ]
    text = report.table(found, None)
    assert "| one | jaxcnn | 500 | 32 |  |" in text
    assert "0.50 (0.50 to 0.50)" in text
    assert "geometric mean of 2: 1.00, the largest 2.00" in text


def test_losses_that_differ_end_the_comparison():
    peers.agree([1.0, 0.5], [1.0, 0.5005], "net")
    for theirs in ([1.0, 0.502], [1.0, float("nan")]):
        with pytest.raises(UserError, match="no time is reported"):
            peers.agree([1.0, 0.5], theirs, "net")


def test_networks_are_found_in_the_libraries():
    both = ["torchvision", "timm"]
    assert peers.their_name("resnet50", both) == ("torchvision", "resnet50")
    assert peers.their_name("resnet50", ["timm"]) == ("timm", "resnet50")
    assert peers.their_name("mobilenet_v1_100", both) == ("timm", "mobilenetv1_100")
    assert peers.their_name("googlenet_torchvision", both) == ("torchvision", "googlenet")
    with pytest.raises(UserError, match="have no fractalnet34"):
        peers.their_name("fractalnet34", both)


def test_dropout_is_off():
    model = networks.without_dropout(create_model("googlenet"))
    assert (model.dropout_rate, model.aux_dropout_rate) == (0.0, 0.0)


def test_training_takes_three_times_the_arithmetic():
    model = create_model("lenet5_modern")
    work = networks.make_work("lenet5_modern", "infer", 4, 0, "float32")
    once = networks.floating_operations(model, work)
    assert networks.floating_operations(model, work._replace(mode="train")) == 3 * once
    assert once % (2 * 4) == 0


@pytest.mark.slow
def test_losses_fall_and_weights_stay_with_the_caller():
    model = create_model("lenet5_modern")
    work = networks.make_work("lenet5_modern", "train", 8, 0, "float32")
    variables = networks.initialise(model, work)
    exactly = work._replace(images=work.images.astype(np.float64), dtype="float64")
    losses = networks.losses(model, variables, exactly, 3)
    assert losses[0] > losses[-1]
    assert networks.losses(model, variables, exactly, 3) == losses
    np.testing.assert_allclose(networks.losses(model, variables, work, 3), losses, rtol=1e-5)


def test_losses_are_compared_over_four_images_in_float64():
    work = networks.few_in_doubles("lenet5_modern", 0)
    assert (work.images.shape[0], work.images.dtype, work.mode) == (4, np.float64, "train")


@pytest.mark.slow
def test_a_network_that_fails_does_not_lose_the_others(monkeypatch, capsys):
    def fails_once(name, *rest):
        if name == "lenet5":
            raise UserError("lenet5: losses differ")
        return measured(name, *rest)

    measured = measure.measure
    monkeypatch.setattr(measure, "measure", fails_once)
    flags = "--model=lenet5,lenet5_modern --mode=infer --batch=2 --against=none"
    with pytest.raises(UserError, match="lenet5: losses differ"):
        command.main([*flags.split(), "--rounds=1", "--seconds=0"])
    assert "| lenet5_modern |" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["train", slow("infer")])
def test_command_prints_a_table_and_writes_json(mode, tmp_path, capsys):
    file = tmp_path / "new" / "found.json"
    flags = f"--model=lenet5_modern --mode={mode} --batch=2 --against=xla --rounds=2 --seconds=0"
    command.main([*flags.split(), f"--json={file}"])
    shown = capsys.readouterr().out
    assert shown.count("| lenet5_modern |") == 2
    content = json.loads(file.read_text())
    (row,) = content["measured"]
    assert row["contenders"]["xla"]["time_ratio"]["least"] > 0
    assert len(row["contenders"]["jaxcnn"]["seconds"]) == 2
    assert row["contenders"]["jaxcnn"]["arithmetic"] > 0
    assert content["machine"]["jax"] in shown


@pytest.mark.slow
def test_input_is_measured_beside_one_thread_on_each_core(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(feed, "PHOTOS", 4)
    file = tmp_path / "found.json"
    flags = ["--mode=input", "--batch=2", "--size=64", "--rounds=2", "--seconds=0"]
    command.main([*flags, f"--json={file}"])
    shown = capsys.readouterr().out
    assert "geometric mean" not in shown
    (row,) = json.loads(file.read_text())["measured"]
    cores = len(os.sched_getaffinity(0))
    names = ["jaxcnn, threads", f"jaxcnn, {cores} workers", "one thread", f"one thread x {cores}"]
    assert row["name"] == "JPEG 500x375 to 64x64"
    assert list(row["contenders"]) == names
    alone, shared = (row["contenders"][name]["seconds"] for name in names[2:])
    assert [cores * seconds for seconds in shared] == pytest.approx(alone)


@pytest.mark.slow
def test_all_feed_the_same_kind_of_batches(tmp_path):
    pytest.importorskip("torchvision", exc_type=(ImportError, RuntimeError))
    check_feeds(tmp_path, ["torch"], 4)


def test_feeds_are_batches_of_crops(tmp_path):
    check_feeds(tmp_path, [], 3)


def check_feeds(folder, against, count):
    feed.write_photos(folder, 4)
    feeds = feed.feeds(folder, 2, 32, 1, against)
    assert len(feeds) == count
    for start in feeds.values():
        with start() as batches:
            batch = next(batches)
        images = batch["image"] if isinstance(batch, dict) else batch
        assert (images.shape, images.dtype) == ((2, 32, 32, 3), np.uint8)
        assert images.std() > 10
        assert not multiprocessing.active_children()


def test_photos_are_as_large_as_imagenets(tmp_path):
    feed.write_photos(tmp_path, 2)
    files = sorted(tmp_path.rglob("*.jpg"))
    assert [file.parent.name for file in files] == ["class0", "class1"]
    assert all(105_000 < file.stat().st_size < 130_000 for file in files)
    assert PIL.Image.open(files[0]).size == (500, 375)


@pytest.mark.slow
def test_operations_are_the_same_in_both():
    for name in ("conv_3x3_512_2", "depthwise_3x3s2_256_28", "max_pool_3x3s2_64_112"):
        found = operations.contenders(name, operations.OPERATIONS[name], 1, "float32", ["xla"])
        assert [one.name for one in found] == ["jaxcnn", "xla"]


@pytest.mark.slow
def test_operations_are_drawn_from_the_networks():
    drawn = random_operations.draw.__wrapped__(12, seed=1)
    assert list(drawn) == list(random_operations.draw(12, seed=1))
    assert len(drawn) == 12
    assert all(1 <= one.batch <= random_operations.MOST_IMAGES for one in drawn.values())
    assert list(drawn) != list(random_operations.draw(12, seed=2))

    def numbers(item):
        return item[1].batch * np.prod(item[1].operation.shapes[0])

    name, (operation, batch) = min(drawn.items(), key=numbers)
    found = operations.contenders(name, operation, batch, "float32", ["xla"])
    assert [one.name for one in found] == ["jaxcnn", "xla"]


@pytest.mark.slow
def test_convolutions_are_those_of_the_network():
    found = random_operations.convolutions("mobilenet_v1_100", 64)
    # 13 depthwise and 13 pointwise ones; the first convolution and four depthwise ones have stride
    # 2 and are padded at one side.
    assert len(found) == 27 - 5
    first = found[0]
    assert first.name == "conv_3x3s1_g32_32_32_32"
    assert first.operation.shapes == ((32, 32, 32), (3, 3, 1, 32))
    assert first.outputs == (1, 32, 32, 32)
    assert first.macs == 32 * 32 * 32 * 9
    assert random_operations.convolutions("inception_v3", 32) == []  # takes no such images


def test_of_many_operations_the_worst_tenth_is_told():
    found = [
        report.Measured(
            str(number),
            1,
            [contender("jaxcnn", []), contender("torch, contiguous", [])],
            {"jaxcnn": [number / 10.0], "torch, contiguous": [1.0]},
        )
        for number in range(1, 21)
    ]
    assert "the largest 2.00, of nine in ten at most 1.89." in report.table(found, None)


@pytest.mark.slow
def test_an_operation_with_another_output_is_not_timed():
    wrong = operations.OPERATIONS["conv_3x3_512_2"]
    wrong = wrong._replace(library=lambda x, w: 1.1 * wrong.ours(x, w))
    with pytest.raises(UserError, match="xla has another output"):
        operations.contenders("wrong", wrong, 1, "float32", ["xla"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--model=resnet51", "resnet50"),
        ("--model=conv --mode=op", "no operation 'conv'"),
        ("--model=resnet50 --against=torchvison", "torchvision"),
        ("--model=resnet50,fractalnet34 --against=timm", "timm have no fractalnet34"),
        ("--mode=op", "--mode=op needs --model=NAME"),
        ("--mode=infer --random=5", "--random goes with --mode=op"),
        ("--mode=op --model=all --remat", "--remat goes with"),
        ("--mode=memory --model=resnet51", "resnet50"),
        ("--model=lenet5 --remat", "remat"),
        ("--model=resnet50 --mode=input", "takes no --model=resnet50"),
        ("--mode=input --against=timm", "against=torch or none"),
        ("--mode=input --dtype=bfloat16", "takes no --dtype=bfloat16"),
        ("--model=resnet50 --batch=0", "--batch=0"),
        ("--model=resnet50 --batch=x", "--batch"),
        ("--model=resnet50 --threads=100000", "--threads=100000"),
        ("", "--model"),
    ],
)
def test_mistakes_are_told(flags, message):
    with pytest.raises(UserError, match=message):
        command.main(flags.split())


@pytest.mark.slow
def test_mistake_is_one_line_of_the_command():
    run = [sys.executable, "-m", "jaxcnn.benchmark", "--model=resnet51"]
    done = subprocess.run(run, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_names_of_operations():
    flags = command.parse(["--model=all", "--mode=op"])
    assert measure.names(flags) == list(operations.OPERATIONS)


@pytest.mark.parametrize("memory", [0, 50, 109, 110, 1_000, 123_456, 10**9])
@pytest.mark.parametrize("bent", [0, 1])
def test_the_largest_batch_that_fits_is_found(memory, bent):
    """For memory that grows linearly, and faster."""

    def bytes_of(batch):
        return 100 + 10 * batch + bent * batch**2 // 50

    batch, known = fit.largest(memory, bytes_of)
    exact = max((b for b in range(fit.MOST + 1) if b and bytes_of(b) <= memory), default=0)
    assert batch == exact or 0 <= exact - batch <= fit.CLOSE * batch
    assert batch == 0 or known[batch] == bytes_of(batch) <= memory
    assert len(known) <= 20
    assert list(known) == sorted(known)


def test_sizes_of_memory():
    assert fit.parse_memory("1.5GB") == 1_500_000_000
    assert fit.parse_memory("2 MiB") == 2**21
    assert fit.parse_memory("") > 2**28
    for text in ("16", "GB", "0GB", "-1GB", "16 PB"):
        with pytest.raises(UserError, match="is not a size such as 16GB"):
            fit.parse_memory(text)


@pytest.mark.slow
def test_memory_of_a_training_step(capsys, tmp_path):
    written = tmp_path / "fit.json"
    flags = ["--mode=fit", "--model=lenet5_modern", "--memory=20MB", f"--json={written}"]
    command.main(flags)
    (found,) = json.loads(written.read_text())["measured"]
    sizes = dict(found["known"])
    assert sizes[found["batch"]] <= 20_000_000
    assert min(size for size in sizes.values() if size > 20_000_000) < 1.1 * 20_000_000
    said = f"lenet5_modern, 32x32, float32: a batch of {found['batch']:,} fits 20.0 MB"
    assert said in capsys.readouterr().out
    command.main(["--mode=fit", "--model=lenet5_modern", "--memory=0.5MB"])
    assert "not one image fits" in capsys.readouterr().out


@pytest.mark.slow
def test_memory_that_the_system_counts(capsys, tmp_path):
    """It holds at least the arrays that the compiler counts."""
    written = tmp_path / "memory.json"
    flags = ["--mode=memory", "--model=cifar_resnet20", "--batch=256", f"--json={written}"]
    command.main(flags)
    (found,) = json.loads(written.read_text())["measured"]
    assert 0.8 * found["counted"] < found["ours"] < 10 * found["counted"]
    assert found["theirs"] is None
    assert "| cifar_resnet20 | 256 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode=fit"], "needs --model"),
        (["--mode=fit", "--model=x"], "x"),
        (["--mode=fit", "--model=lenet5", "--remat"], "remat"),
        (["--mode=fit", "--model=lenet5", "--against=torch"], "no other library"),
        (["--mode=train", "--model=lenet5", "--memory=1GB"], "goes with --mode=fit"),
    ],
)
def test_fit_refuses(flags, message):
    with pytest.raises(UserError, match=message):
        command.main(flags)


@pytest.mark.parametrize("counts", [slow("1"), exhaustive("1,2")])
def test_processes_are_compared_with_one(counts, tmp_path, capsys):
    written = tmp_path / "found.json"
    flags = ["--mode=scale", "--model=lenet5_modern", "--batch=8", f"--processes={counts}"]
    command.main([*flags, f"--json={written}"])
    rows = json.loads(written.read_text())["lenet5_modern"]
    assert [str(row["processes"]) for row in rows] == counts.split(",")
    assert all(0 < row["least"] <= row["images_per_second"] <= row["most"] for row in rows)
    printed = capsys.readouterr().out
    assert "| 1 | " in printed
    assert "| 1.00 | 1.00 |" in printed


def test_scaling_is_per_process_and_per_core():
    """Four processes on two cores, twice as fast as one of them."""
    one, four = scale.Scaled(1, 1.0, 100, 90, 110), scale.Scaled(4, 0.5, 200, 180, 220)
    assert scale.table([one, four]).splitlines()[-1] == (
        "| 4 | 0.5 | 200 (180 to 220) | 0.50 | 1.00 |"
    )


@pytest.mark.slow
def test_a_process_that_fails_is_named():
    with pytest.raises(UserError, match=r"process 0 of 1 failed: .*lenet5_moderm"):
        scale.measure("lenet5_moderm", [1], 8, 0, "float32")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode=scale"], "needs --model"),
        (["--mode=scale", "--model=x", "--processes=2,4"], "begin with 1"),
        (["--mode=scale", "--model=x", "--processes=1,x"], "write numbers"),
        (["--mode=scale", "--model=x", "--against=torch"], "no other library"),
        (["--mode=train", "--model=x", "--processes=1"], "goes with --mode=scale"),
    ],
)
def test_scaling_refuses(flags, message):
    with pytest.raises(UserError, match=message):
        command.main(flags)
