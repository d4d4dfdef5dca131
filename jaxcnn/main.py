"""The command line: `python -m jaxcnn.main --config=configs/densenet121.py`. Flags only."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import config_flags

from jaxcnn.config.flags import config_name, read_config, run
from jaxcnn.errors import UserError, printable
from jaxcnn.run import cli

if TYPE_CHECKING:
    from jaxcnn.config.schema import RunConfig

FLAGS = flags.FLAGS
OF_MODE = {
    "train": ("profile",),
    "evaluate": ("checkpoint", "split", "report", "weights", "csv", "labels"),
}


def define_flags() -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string(
        "workdir",
        "",
        "Where the run lives; runs/<config>-<data> by default. For --mode=evaluate also several,"
        " with commas: the mean of their probabilities.",
    )
    flags.DEFINE_enum(
        "mode", "train", ["train", "evaluate", "show"], "What to do; show prints the config."
    )
    flags.DEFINE_string("checkpoint", "latest", "For --mode=evaluate: latest, best or a step.")
    flags.DEFINE_string("split", "test", "For --mode=evaluate: test, validation or train.")
    flags.DEFINE_string(
        "report",
        "",
        "For --mode=evaluate: a folder for accuracy by class, confusion, calibration, predictions:"
        " new, or with an earlier report of the same networks, which is replaced.",
    )
    flags.DEFINE_string(
        "weights", "", "For --mode=evaluate: trained weights by name, or a converted folder."
    )
    flags.DEFINE_string("csv", "", "With --weights: a file that gets a row with the result.")
    flags.DEFINE_string(
        "labels",
        "",
        "With --weights: a JSON list of the right outputs of each of ImageNet's validation images,"
        " such as real.json of ReaL.",
    )
    flags.DEFINE_bool("profile", False, "Write a trace of a few steps to workdir/profile.")
    flags.DEFINE_string("coordinator", "", "Several processes: host:port of process 0, or auto.")
    flags.DEFINE_integer("num_processes", 1, "Several processes: how many.")
    flags.DEFINE_integer("process_id", 0, "Several processes: which one this is.")


def check_mode() -> None:
    """Raises `UserError` for a flag of the other mode, which would be passed over."""
    for mode, names in OF_MODE.items():
        for name in names:
            if mode != FLAGS.mode and FLAGS[name].present:
                raise UserError(f"--{name} is for --mode={mode}: add that, or leave --{name} out")


def print_config() -> None:
    """Prints each field of the config: its value, where that came from, and what it means.

    Raises:
      UserError: for no config, or a workdir, whose config is in its config.json.
    """
    from jaxcnn.config import show

    if FLAGS.workdir:
        raise UserError("--mode=show takes no --workdir: config.json in it is the run's config")
    config = read_config()
    flagged = config_flags.get_override_values(FLAGS["config"])
    for line in show.table(config, flagged).splitlines():
        print(printable(line))


def print_results() -> None:
    """Evaluates a run or several together, or weights of elsewhere if there is no run.

    Raises:
      UserError: neither is given, or it cannot be evaluated.
    """
    config = None if FLAGS.config is None else read_config()
    if FLAGS.weights:
        print_weights(config)
        return
    for name in ("csv", "labels"):
        if FLAGS[name].value:
            raise UserError(f"--{name} is of --weights=NAME")
    if not FLAGS.workdir.strip(", ") and not (config and config.init_from):
        raise UserError(
            "--mode=evaluate needs the --workdir of a run, --weights=NAME, or --config with"
            " --config.init_from=DIR for weights of python -m jaxcnn.interop.convert"
        )
    cli.set_up(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    from jaxcnn.evaluation import evaluate

    wanted: dict[str, Any] = {"split": FLAGS.split}
    if FLAGS.report:
        wanted["report"] = Path(FLAGS.report)
    if FLAGS.workdir.strip(", "):
        wanted["checkpoint"] = FLAGS.checkpoint
        wanted["changes"] = config_flags.get_override_values(FLAGS["config"]) if config else {}
        whole = (Path(FLAGS.workdir) / "config.json").exists()  # its name may have a comma
        names = [FLAGS.workdir] if whole else FLAGS.workdir.split(",")
        workdirs = [Path(name) for name in names if name.strip(", ")]
        if len(workdirs) > 1:
            results = evaluate.run_ensemble(workdirs, **wanted)
        else:
            results = evaluate.run(*workdirs, **wanted)
    else:
        assert config is not None  # noqa: S101, one of both is there
        if FLAGS["checkpoint"].present:
            raise UserError("--checkpoint is of a run: name its --workdir")
        results = evaluate.run_weights(config, **wanted)
    for name, value in results.items():
        print(f"{printable(name)} {value:.6g}")


def print_weights(config: "RunConfig | None") -> None:
    """Evaluates trained weights by name, or of a converted folder, on the data of the config.

    Raises:
      UserError: for flags of something else, or weights or data that cannot be had.
    """
    if FLAGS.workdir or FLAGS["checkpoint"].present or FLAGS.report:
        raise UserError("--workdir, --checkpoint and --report are of a run: leave out --weights")
    if config is None:
        raise UserError(
            "--weights needs the data that it is evaluated on: --config=resnet50:imagenet2012, or"
            " --config=resnet50:folder --config.data.dir=DIR"
        )
    cli.set_up(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    from jaxcnn.evaluation import weights

    labels = Path(FLAGS.labels).expanduser() if FLAGS.labels else None
    found = weights.run_pretrained(FLAGS.weights, config, split=FLAGS.split, labels=labels)
    if FLAGS.csv:
        weights.append_row(Path(FLAGS.csv).expanduser(), found.row)
    for name, value in found.results.items():
        print(f"{printable(name)} {value:.6g}")
    row = found.row
    print(f"top1 {row['top1']:.2%}, 95 % interval {row['low']:.2%} to {row['high']:.2%}")
    if row["published_top1"]:
        print(f"published {row['published_top1']:.2%}, by {row['measured_by']}")


def main(argv: list[str]) -> None:
    """Trains, evaluates or shows the config."""
    del argv
    check_mode()
    if FLAGS.mode == "show":
        print_config()
        return
    if FLAGS.mode == "evaluate":
        print_results()
        return
    from jaxcnn.config import datasets

    config = read_config()
    directory = Path(FLAGS.workdir or f"runs/{config_name()}-{datasets.data_label(config)}")
    cli.set_up(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    from jaxcnn.config.programs import make_programs
    from jaxcnn.training import train

    make = functools.partial(make_programs, cached=True)
    train.run(config, directory, profile=FLAGS.profile, make_programs=make)


if __name__ == "__main__":
    run(main, define_flags)
