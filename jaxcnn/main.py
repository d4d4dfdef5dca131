"""The command line: `python -m jaxcnn.main --config=configs/densenet121.py`. Flags only."""

import runpy
import sys
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from jaxcnn import process
from jaxcnn.errors import UserError, nearest

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
    "config",
    None,
    "A file of configs/, with :DATASET behind it for another of its data sets. Any field can be"
    " set: --config.train.batch_size=128.",
    lock_config=False,
    accept_new_attributes=True,  # so that a misspelt field gets our answer, not a traceback
)
flags.DEFINE_string(
    "workdir",
    "",
    "Where the run lives; runs/<config>-<dataset> by default. For --mode=evaluate also several,"
    " with commas: the mean of their probabilities.",
)
flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "What to do in the workdir.")
flags.DEFINE_string("checkpoint", "latest", "For --mode=evaluate: latest, best or a step.")
flags.DEFINE_string("split", "test", "For --mode=evaluate: test, validation or train.")
flags.DEFINE_string(
    "report",
    "",
    "For --mode=evaluate: a new folder for accuracy by class, confusion, calibration, predictions.",
)
flags.DEFINE_bool("profile", False, "Write a trace of a few steps to workdir/profile.")
flags.DEFINE_bool("debug", False, "Show the traceback of an error.")
flags.DEFINE_string("coordinator", "", "Several processes: host:port of process 0, or auto.")
flags.DEFINE_integer("num_processes", 1, "Several processes: how many.")
flags.DEFINE_integer("process_id", 0, "Several processes: which one this is.")


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line.

    Raises:
      UserError: unknown flags, values of a wrong type, a config file that cannot be read.
    """
    evaluates_run = "--mode=evaluate" in argv and any(a.startswith("--workdir=") for a in argv)
    try:
        if evaluates_run:  # its config is in the workdir, and the flag's is a place for its changes
            FLAGS.set_default("config", str(Path(__file__).with_name("recipes.py")))
        rest = FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        known = [name for name in FLAGS if "." not in name]
        raise UserError(f"no flag --{error.flagname}: {nearest(error.flagname, known)}") from None
    except flags.Error as error:
        text = str(error)  # with the whole traceback, if a config file raised a ValueError
        text = text.splitlines()[-1] if "Traceback" in text else " ".join(text.split())
        raise UserError(text) from error
    except UserError:
        raise
    except Exception as error:  # whatever the config file, which is a program, raises
        cause = error.args[0] if isinstance(error, KeyError) else error  # KeyError shows its repr
        reason = str(cause).strip().splitlines() or [""]
        file = next((flag for flag in argv if flag.startswith("--config=")), "--config")
        raise UserError(f"cannot read {file}: {type(error).__name__}: {reason[-1]}") from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: write --config=FILE --workdir=DIR")
    return rest


def read_config() -> ConfigDict:
    """Returns the config of the command line, its fields checked.

    Raises:
      UserError: no such file, or a field that it does not have.
    """
    if FLAGS.config is None:
        raise UserError("--config is missing: for example --config=configs/densenet121.py")
    path = config_flags.get_config_filename(FLAGS["config"])
    if not isinstance(FLAGS.config, ConfigDict):
        raise UserError(f"there is no config file {path.split(':')[0]!r}: see configs/")

    import flax

    def names(config: ConfigDict) -> set[str]:
        return set(
            flax.traverse_util.flatten_dict(config.to_dict(), keep_empty_nodes=True, sep=".")
        )

    file, *dataset = path.split(":", 1)
    declared = names(runpy.run_path(file)["get_config"](*dataset))
    for name in sorted(names(FLAGS.config) - declared):
        if not name.startswith("model.overrides."):
            raise UserError(f"the config has no field {name!r}: {nearest(name, declared)}")
    return FLAGS.config.lock()


def print_results() -> None:
    """Evaluates a run or several together, or weights of elsewhere if there is no run.

    Raises:
      UserError: neither is named, or what is named cannot be evaluated.
    """
    config = None if FLAGS.config is None else read_config()
    if not FLAGS.workdir and not (config and config.init_from):
        raise UserError(
            "--mode=evaluate needs the --workdir of a run, or --config with --config.init_from=DIR"
            " for weights of python -m jaxcnn.interop.convert"
        )
    process.set_up(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    from jaxcnn import evaluate

    wanted: dict[str, Any] = {"split": FLAGS.split}
    if FLAGS.report:
        wanted["report"] = Path(FLAGS.report)
    if FLAGS.workdir:
        wanted["checkpoint"] = FLAGS.checkpoint
        wanted["changes"] = config_flags.get_override_values(FLAGS["config"]) if config else {}
        whole = Path(FLAGS.workdir).is_dir()  # its name may have a comma
        names = [FLAGS.workdir] if whole else FLAGS.workdir.split(",")
        workdirs = [Path(name) for name in names if name]
        if len(workdirs) > 1:
            results = evaluate.run_ensemble(workdirs, **wanted)
        else:
            results = evaluate.run(Path(FLAGS.workdir), **wanted)
    else:
        results = evaluate.run_weights(config, **wanted)
    for name, value in results.items():
        print(f"{name} {value:.6g}")


def main(argv: list[str]) -> None:
    """Trains or evaluates."""
    del argv
    if FLAGS.mode == "evaluate":
        print_results()
        return
    config = read_config()
    stem = Path(config_flags.get_config_filename(FLAGS["config"]).split(":")[0]).stem
    directory = Path(FLAGS.workdir or f"runs/{stem}-{config.dataset}")
    process.set_up(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    from jaxcnn import train

    train.run(config, directory, profile=FLAGS.profile)


def cli() -> NoReturn:
    """Runs `main`; a mistake of the user ends in one line and its exit code."""
    with process.mistakes_in_one_line(debug="--debug" in sys.argv):
        app.run(main, flags_parser=parse_flags)
    sys.exit(0)


if __name__ == "__main__":
    process.restart_with_huge_pages()
    cli()
