"""What the commands that take a config share: its flag, and what is wrong with it in one line."""

import runpy
import sys
from collections.abc import Callable
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
flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def config_name() -> str:
    """Returns the name of the config file, without its ending and data set."""
    return Path(config_flags.get_config_filename(FLAGS["config"]).split(":")[0]).stem


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

    from jaxcnn import fields

    def names(config: ConfigDict) -> set[str]:
        return set(
            flax.traverse_util.flatten_dict(config.to_dict(), keep_empty_nodes=True, sep=".")
        )

    file, *dataset = path.split(":", 1)
    declared = names(runpy.run_path(file)["get_config"](*dataset))
    for name in sorted(names(FLAGS.config) - declared):
        if not name.startswith("model.overrides."):
            raise UserError(f"the config has no field {name!r}: {nearest(name, declared)}")
    fields.check(FLAGS.config)
    return FLAGS.config.lock()


def run(main: Callable[[list[str]], Any]) -> NoReturn:
    """Runs a command; a mistake of the user ends in one line and its exit code."""
    with process.mistakes_in_one_line(debug="--debug" in sys.argv):
        app.run(main, flags_parser=parse_flags)
    sys.exit(0)
