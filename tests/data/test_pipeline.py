"""The global batch is a function of (seed, step), and evaluation is exact."""

import dataclasses
import hashlib
import logging

import numpy as np
import pytest

from jaxcnn.data import load, pipeline
from jaxcnn.data.dataset import (
    Dataset,
    UnreadableImageError,
    keep_labels,
    random_bits,
    random_order,
)
from jaxcnn.data.fields import BatchConfig
from jaxcnn.data.images import listing
from jaxcnn.errors import EXIT_BAD_DATA, UserError

STEPS = 9


def digest(batch):
    parts = [name.encode() + np.ascontiguousarray(batch[name]).tobytes() for name in sorted(batch)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture
def files(image_folder):
    """21 files with random crops: host randomness, decoding, and epochs that end inside a batch."""
    return load("folder", "train", dir=image_folder(), image_size=16, train_crop="random_resized")


@pytest.fixture
def digits():
    return load("digits", "test", image_size=8, channels=1)


def reference(dataset, batch_size=8, seed=3):
    return [
        digest(pipeline.train_batch(dataset, batch_size=batch_size, seed=seed, step=step))
        for step in range(STEPS)
    ]


def semi_supervised(dataset, batch_size=6, seed=3):
    """Digests of batches with two unlabelled rows after each labelled one."""
    return [
        digest(
            pipeline.train_batch(
                dataset,
                BatchConfig(unlabelled_per_labelled=2),
                batch_size=batch_size,
                seed=seed,
                step=step,
            )
        )
        for step in range(STEPS)
    ]


def broken(dataset, bad):
    """Wraps a dataset so that the examples `bad` cannot be read."""

    def read(index, rng):
        if index in bad:
            raise UnreadableImageError("cut short")
        return dataset.images[index], int(dataset.labels[index])

    return dataclasses.replace(dataset, images=None, labels=None, read=read)


@pytest.mark.parametrize("process_count", [1, 2, 4])
@pytest.mark.parametrize("kind", ["files", "digits"])
def test_the_global_batch_is_the_same_for_any_process_count(kind, process_count, request):
    dataset = request.getfixturevalue(kind)
    streams = [
        pipeline.train_batches(
            dataset,
            batch_size=8,
            seed=3,
            start_step=0,
            num_steps=STEPS,
            process_index=process,
            process_count=process_count,
        )
        for process in range(process_count)
    ]
    assert [digest(joined(parts)) for parts in zip(*streams, strict=True)] == reference(dataset)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_the_batches_are_the_same_for_any_worker_count(files, num_workers):
    stream = pipeline.train_batches(
        files,
        BatchConfig(num_workers=num_workers),
        batch_size=8,
        seed=3,
        start_step=0,
        num_steps=STEPS,
    )
    assert [digest(batch) for batch in stream] == reference(files)
    evaluated = [digest(batch) for batch in pipeline.eval_batches(files, batch_size=8)]
    with_workers = pipeline.eval_batches(files, batch_size=8, num_workers=num_workers)
    assert [digest(batch) for batch in with_workers] == evaluated


@pytest.mark.parametrize("start", range(STEPS + 1))
def test_a_run_resumes_exactly_at_any_step(files, start):
    stream = pipeline.train_batches(files, batch_size=8, seed=3, start_step=start, num_steps=STEPS)
    assert [digest(batch) for batch in stream] == reference(files)[start:]


def test_seeds_and_epochs_differ(files):
    assert len(set(reference(files, seed=3) + reference(files, seed=4))) == 2 * STEPS


def test_a_file_is_cropped_anew_in_every_epoch_and_the_same_whatever_the_batch(files):
    def of_first(batch_size, epochs):
        found = {}
        steps = range(-(-files.num_examples * epochs // batch_size))
        for step in steps:
            batch = pipeline.train_batch(files, batch_size=batch_size, seed=0, step=step)
            for row in np.flatnonzero(batch["index"] == 0):
                found[int(batch["epoch"][row])] = batch["image"][row].tobytes()
        return [found[epoch] for epoch in range(epochs)]

    assert len(set(of_first(4, 3))) == 3
    assert of_first(4, 3) == of_first(10, 3)


@pytest.mark.parametrize("batch_size", [1, 8, 64, 1000])
def test_every_epoch_holds_each_example_once_and_nothing_is_dropped(digits, batch_size):
    n = digits.num_examples
    steps = range(-(-3 * n // batch_size))
    batches = [
        pipeline.train_batch(digits, batch_size=batch_size, seed=1, step=step) for step in steps
    ]
    index, epoch = (
        np.concatenate([batch[name] for batch in batches])[: 3 * n] for name in ("index", "epoch")
    )
    orders = index.reshape(3, n)
    assert np.array_equal(epoch, np.repeat(np.arange(3), n))
    assert all(np.array_equal(np.sort(order), np.arange(n)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    for batch in batches:
        assert np.array_equal(batch["image"], digits.images[batch["index"]])
        assert np.array_equal(batch["label"], digits.labels[batch["index"]])


@pytest.mark.parametrize("process_count", [1, 2, 3, 6])
@pytest.mark.parametrize("kind", ["files", "digits"])
def test_rows_without_label_are_the_same_for_any_process_count(kind, process_count, request):
    dataset = request.getfixturevalue(kind)
    dataset = keep_labels(dataset, 2 * dataset.num_classes, seed=3)
    streams = [
        pipeline.train_batches(
            dataset,
            BatchConfig(unlabelled_per_labelled=2),
            batch_size=6,
            seed=3,
            start_step=0,
            num_steps=STEPS,
            process_index=process,
            process_count=process_count,
        )
        for process in range(process_count)
    ]
    batches = [joined(parts) for parts in zip(*streams, strict=True)]
    assert [digest(batch) for batch in batches] == semi_supervised(dataset)


@pytest.mark.parametrize(("num_workers", "start"), [(0, 4), (2, 0)])
def test_rows_without_label_are_the_same_for_any_worker_count_and_start(files, num_workers, start):
    dataset = keep_labels(files, 6, seed=3)
    stream = pipeline.train_batches(
        dataset,
        BatchConfig(unlabelled_per_labelled=2, num_workers=num_workers),
        batch_size=6,
        seed=3,
        start_step=start,
        num_steps=STEPS,
    )
    assert [digest(batch) for batch in stream] == semi_supervised(dataset)[start:]


@pytest.mark.parametrize("labels", [0, 20])
@pytest.mark.parametrize("unlabelled", [0, 1, 3])
def test_each_stream_passes_over_its_examples(digits, labels, unlabelled):
    dataset = keep_labels(digits, labels, seed=5) if labels else digits
    known = np.arange(360) if dataset.labelled is None else dataset.labelled
    size = 12 * (1 + unlabelled)
    steps = range(2 * 360 // 12)
    batches = [
        pipeline.train_batch(
            dataset,
            BatchConfig(unlabelled_per_labelled=unlabelled),
            batch_size=size,
            seed=1,
            step=step,
        )
        for step in steps
    ]
    for batch in batches:
        assert np.array_equal(batch["image"], digits.images[batch["index"]])
    whole = joined(batches)
    first = np.arange(len(whole["index"])) % (1 + unlabelled) == 0
    assert np.array_equal(whole["label"][first], digits.labels[whole["index"][first]])
    assert np.all(whole["label"][~first] == -1)
    orders = []
    for rows, examples in ((first, known), (~first, np.arange(360))):
        index, epoch = whole["index"][rows], whole["epoch"][rows]
        passes = len(index) // len(examples)
        for number in range(passes):
            assert np.array_equal(np.sort(index[epoch == number]), examples)
        orders += [index[epoch == number].tolist() for number in range(passes)]
    assert len({tuple(order) for order in orders}) == len(orders) > 1


def test_an_unlabelled_label_is_not_looked_at_and_a_labelled_one_is(digits):
    labels = digits.labels.copy()
    known = keep_labels(digits, 10, seed=0)
    other = np.setdiff1d(np.arange(360), known.labelled)
    labels[other] = 99
    dataset = dataclasses.replace(known, labels=labels)
    batch = pipeline.train_batch(
        dataset, BatchConfig(unlabelled_per_labelled=1), batch_size=360, seed=0, step=0
    )
    assert set(batch["label"][1::2]) == {-1}
    labels[known.labelled[0]] = 10
    with pytest.raises(UserError, match=f"{digits.describe(int(known.labelled[0]))} has label 10"):
        pipeline.train_batch(
            dataset, BatchConfig(unlabelled_per_labelled=1), batch_size=360, seed=0, step=0
        )


@pytest.mark.parametrize("repeats", [2, 4])
def test_repeats_are_views_of_fewer_examples_each_passed_over_once(files, repeats):
    """Of file 0 the views of one epoch differ by their crop; the first is that without repeats."""
    n, size = files.num_examples, 8
    steps = range(-(-2 * n * repeats // size))
    batches = [
        pipeline.train_batch(
            files, BatchConfig(repeats=repeats), batch_size=size, seed=3, step=step
        )
        for step in steps
    ]
    views = [
        {name: rows.reshape(repeats, -1, *rows.shape[1:]) for name, rows in batch.items()}
        for batch in batches
    ]
    for view in views:
        assert np.all(np.sort(view["index"]) == np.sort(view["index"][:1]))
        assert np.all(view["repeat"] == np.arange(repeats)[:, None])
        same = (view["index"] == view["index"][0, 0]) & (view["epoch"] == view["epoch"][0, 0])
        images = view["image"][same]
        assert len({image.tobytes() for image in images}) == repeats
    index = np.concatenate([view["index"][0] for view in views])[: 2 * n]
    epoch = np.concatenate([view["epoch"][0] for view in views])[: 2 * n]
    assert np.array_equal(epoch, np.repeat([0, 1], n))
    assert all(np.array_equal(np.sort(order), np.arange(n)) for order in index.reshape(2, n))
    first = np.concatenate([view["image"][0] for view in views])
    plain = pipeline.train_batch(files, batch_size=size // repeats, seed=3, step=1)
    assert np.array_equal(first[size // repeats :][: size // repeats], plain["image"])


@pytest.mark.parametrize("examples", [2, 3, 4, 5, 8, 9, 16, 64])
@pytest.mark.parametrize("repeats", [2, 3, 4, 8])
def test_an_example_meets_another_neighbour_in_each_of_its_views(digits, examples, repeats):
    if examples * repeats % 2:
        return  # no pairs
    size = examples * repeats
    batch = pipeline.train_batch(
        digits, BatchConfig(repeats=repeats), batch_size=size, seed=3, step=1
    )
    shown = list(zip(batch["index"], batch["repeat"], strict=True))
    assert len(set(shown)) == size
    pairs = batch["index"].reshape(-1, 2)
    assert np.all(pairs[:, 0] != pairs[:, 1])
    for index in np.unique(batch["index"]):
        met = pairs[:, ::-1][pairs == index]
        counts = np.unique(met, return_counts=True)[1]
        assert len(met) == repeats
        assert len(counts) == min(repeats, examples - 1)
        assert counts.max() - counts.min() <= 1 + examples % 2


@pytest.mark.parametrize(("num_workers", "start", "processes"), [(0, 4, 2), (2, 0, 1)])
def test_repeats_are_the_same_for_any_workers_processes_and_start(
    files, num_workers, start, processes
):
    fixed = {"batch_size": 8, "seed": 3}
    streams = [
        pipeline.train_batches(
            files,
            BatchConfig(repeats=2, num_workers=num_workers),
            start_step=start,
            num_steps=STEPS,
            process_index=process,
            process_count=processes,
            **fixed,
        )
        for process in range(processes)
    ]
    found = [digest(joined(parts)) for parts in zip(*streams, strict=True)]
    expected = [
        digest(pipeline.train_batch(files, BatchConfig(repeats=2), step=step, **fixed))
        for step in range(STEPS)
    ]
    assert found == expected[start:]


def test_a_batch_that_repeats_do_not_fill_is_refused_at_once(digits):
    fields = {"seed": 0, "start_step": 0, "num_steps": 1}
    with pytest.raises(UserError, match=r"batch_size=8 .* repeats=3 .* a multiple of 3"):
        pipeline.train_batches(digits, BatchConfig(repeats=3), batch_size=8, **fields)
    with pytest.raises(UserError, match="repeats=2 cannot be used with unlabelled rows"):
        pipeline.train_batches(
            digits,
            BatchConfig(repeats=2, unlabelled_per_labelled=1),
            batch_size=8,
            **fields,
        )


def test_a_batch_of_no_whole_groups_is_refused_at_once(digits):
    with pytest.raises(UserError, match=r"batch_size=8 .* 2 without: make it a multiple of 3"):
        pipeline.train_batches(
            digits,
            BatchConfig(unlabelled_per_labelled=2),
            batch_size=8,
            seed=0,
            start_step=0,
            num_steps=1,
        )


@pytest.mark.parametrize("kind", ["files", "digits"])
def test_labels_are_kept_of_equally_many_of_each_class(kind, request):
    dataset = request.getfixturevalue(kind)
    each = 3
    count = each * dataset.num_classes
    drawn = [keep_labels(dataset, count, seed).labelled for seed in (0, 0, 1)]
    labels = np.array(
        [dataset.label_of(i) if kind == "files" else dataset.labels[i] for i in drawn[0]]
    )
    assert np.bincount(labels).tolist() == [each] * dataset.num_classes
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    part = dataset.subset(np.arange(9)[::-1], "train")
    assert part.labelled is None
    for wrong, message in (
        (count + 1, f"make it a multiple of {dataset.num_classes}"),
        (0, "labelled=0 is not"),
        (100 * dataset.num_classes, r"make it \d+ or less"),
    ):
        with pytest.raises(UserError, match=message) as error:
            keep_labels(dataset, wrong, 0)
        assert "\n" not in str(error.value)


def test_types_and_shapes(files):
    batch = pipeline.train_batch(files, batch_size=8, seed=0, step=0, process_count=2)
    assert {name: (rows.dtype.name, rows.shape) for name, rows in batch.items()} == {
        "image": ("uint8", (4, 16, 16, 3)),
        "label": ("int32", (4,)),
        "index": ("int32", (4,)),
        "epoch": ("int32", (4,)),
        "repeat": ("int32", (4,)),
        "weight": ("float32", (4,)),
    }


def test_the_order_does_not_depend_on_the_version_of_numpy():
    """Another NumPy must not change the order under a run that is resumed with it."""
    order = random_order(10, random_bits((7, 2)))
    assert order.tolist() == [6, 7, 8, 4, 0, 1, 5, 3, 9, 2]


@pytest.mark.parametrize("process_count", [1, 2])
@pytest.mark.parametrize("batch_size", [2, 10, 14, 50])
@pytest.mark.parametrize("kind", ["files", "digits"])
def test_evaluation_sees_each_example_exactly_once_in_order(
    kind, batch_size, process_count, request
):
    dataset = request.getfixturevalue(kind)
    streams = [
        pipeline.eval_batches(
            dataset, batch_size=batch_size, process_index=process, process_count=process_count
        )
        for process in range(process_count)
    ]
    batches = [joined(parts) for parts in zip(*streams, strict=True)]  # equally many on each
    whole = joined(batches)
    real = whole["weight"] == 1
    assert whole["index"][real].tolist() == list(range(dataset.num_examples))
    assert len(batches) == -(-dataset.num_examples // batch_size)
    assert np.all(whole["index"][~real] == -1)
    assert not whole["image"][~real].any()
    assert not whole["label"][~real].any()


def test_a_batch_that_the_processes_cannot_share_is_refused_at_once(digits):
    with pytest.raises(UserError, match="batch_size=6 must be a positive multiple of the 4"):
        pipeline.eval_batches(digits, batch_size=6, process_count=4)
    with pytest.raises(UserError, match="batch_size=6"):
        pipeline.train_batches(
            digits, batch_size=6, seed=0, start_step=0, num_steps=1, process_count=4
        )


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_outside_the_classes_stops_the_run_and_names_the_example(digits, label):
    labels = digits.labels.copy()
    labels[5] = label
    wrong = dataclasses.replace(digits, labels=labels)
    with pytest.raises(UserError, match=rf"{digits.describe(5)} has label {label}, .* 0 to 9") as e:
        list(pipeline.eval_batches(wrong, batch_size=4))
    assert e.value.exit_code == EXIT_BAD_DATA
    with pytest.raises(UserError, match=f"has label {label}"):
        pipeline.train_batch(wrong, batch_size=360, seed=0, step=0)


def test_bad_images_up_to_the_limit_have_weight_0_and_are_named_once(digits, caplog):
    listing.say_once.cache_clear()
    dataset = broken(digits, {4, 9})
    stream = pipeline.train_batches(
        dataset,
        BatchConfig(max_bad_fraction=2 / 360),
        batch_size=60,
        seed=0,
        start_step=0,
        num_steps=12,
    )
    with caplog.at_level(logging.WARNING, logger="jaxcnn"):
        batches = list(stream)
    dropped = [batch["index"][batch["weight"] == 0] for batch in batches]
    assert sorted(np.concatenate(dropped)) == [4, 4, 9, 9]  # two epochs, and nothing moves up
    assert not any(batch["image"][batch["weight"] == 0].any() for batch in batches)
    named = [text for text in caplog.messages if text.startswith("skipped")]
    assert sorted(named) == sorted(
        f"skipped unreadable image {digits.describe(index)}: cut short" for index in (4, 9)
    )
    assert caplog.messages[-1].startswith("2 of 360 images of digits (test)")
    said = len(caplog.messages)
    for _ in range(2):  # as a run does that evaluates several times
        list(pipeline.eval_batches(dataset, batch_size=100))
    assert len(caplog.messages) == said


@pytest.mark.parametrize(("fraction", "bad", "stops"), [(0.0, 1, 1), (0.001, 2, 2), (0.01, 4, 4)])
def test_bad_images_beyond_the_limit_stop_the_run(digits, fraction, bad, stops):
    dataset = broken(digits, set(range(bad)))
    stream = pipeline.train_batches(
        dataset,
        BatchConfig(max_bad_fraction=fraction),
        batch_size=60,
        seed=0,
        start_step=0,
        num_steps=6,
    )
    with pytest.raises(UserError, match=rf"^{stops} of the 360 images .*max_bad_fraction$") as e:
        list(stream)
    assert e.value.exit_code == EXIT_BAD_DATA
    if bad > 1:
        within = broken(digits, set(range(bad - 1)))
        stream = pipeline.train_batches(
            within,
            BatchConfig(max_bad_fraction=fraction),
            batch_size=60,
            seed=0,
            start_step=0,
            num_steps=6,
        )
        assert sum(batch["weight"].sum() for batch in stream) == 360 - (bad - 1)


def test_only_the_first_ten_bad_images_are_named(digits, caplog):
    list(pipeline.eval_batches(broken(digits, set(range(100, 130))), batch_size=64))
    assert sum(text.startswith("skipped") for text in caplog.messages) == 10
    assert caplog.messages[-1].startswith("30 of 360 images")


def test_evaluation_of_nothing_but_bad_images_is_an_error(digits):
    with pytest.raises(UserError, match="not one of the 360 images") as e:
        list(pipeline.eval_batches(broken(digits, set(range(360))), batch_size=64))
    assert e.value.exit_code == EXIT_BAD_DATA


def test_errors_cross_from_a_worker(image_folder):
    wrong = load("folder", "train", dir=image_folder(), image_size=16, train_crop="none")
    stream = pipeline.train_batches(
        wrong, BatchConfig(num_workers=1), batch_size=4, seed=0, start_step=0, num_steps=4
    )
    with pytest.raises(UserError, match=r"\.jpg is 40x30, not 16x16"):
        next(stream)


def test_a_source_needs_images_or_read():
    empty = Dataset("x", "train", 4, 2, (2, 2, 1), ("a", "b"), describe=str)
    with pytest.raises(TypeError, match="images and labels, or read"):
        pipeline.train_batch(empty, batch_size=2, seed=0, step=0)
