"""Flags of commands that take a config, and one-line errors for wrong flags."""

import difflib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict, config_flags

from jaxcnn.errors import UserError, nearest
from jaxcnn.run import cli

if TYPE_CHECKING:
    from jaxcnn.config.schema import RunConfig

FLAGS = flags.FLAGS
# Flags of other programs, and our fields with the same meaning.
FIELDS = {
    "batch": "train.batch_size",
    "epochs": "train.length=20epochs",
    "steps": "train.length=1000steps",
    "lr": "schedule.learning_rate",
    "wd": "optimizer.weight_decay",
    "workers": "data.num_workers",
    "data": "data.dir",
    "data_dir": "data.dir",
    "resume": "init_from",
    "pretrained": "init_from",
    "amp": "model.dtype=bfloat16",
}

MISSING = "--config is missing: for example --config=configs/densenet121.py"


def define_flags() -> None:
    """Defines the flags of all commands; importing a module defines no flags."""
    config_flags.DEFINE_config_file(
        "config",
        None,
        "A file of configs/ or its bare name, with :DATASET behind it for another of its data sets."
        " Any field can be set: --config.train.batch_size=128.",
        lock_config=False,
        accept_new_attributes=True,  # a misspelt field gets our error, not a traceback
    )
    flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


BY_NAME = str(Path(__file__).with_name("by_name.py"))


def config_name() -> str:
    """Returns the name of the config file, without its extension and data set."""
    path = config_flags.get_config_filename(FLAGS["config"]).removeprefix(f"{BY_NAME}:")
    return Path(path.split(":")[0]).stem


def _file_of(argument: str) -> str:
    """Returns the file for `--config=NAME:DATASET`; other arguments unchanged."""
    match = re.fullmatch(r"--config=([a-z0-9_]+)(:.*)?", argument)
    if match is None or Path(match[1]).exists():
        return argument
    return f"--config={BY_NAME}:{match[1]}{match[2] or ''}"


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line.

    Raises:
      UserError: if a flag is unknown, a value has a wrong type, or a config file cannot be read.
    """
    # Rewrites sys.argv, where ml_collections looks for field values, in one of the forms of absl.
    sys.argv[:] = argv = list(map(_file_of, joined(argv)))
    _check_exists(argv)
    absl_logging.set_verbosity(absl_logging.FATAL)  # ml_collections also raises what it logs
    evaluates_run = "--mode=evaluate" in argv and any(a.startswith("--workdir=") for a in argv)
    try:
        if evaluates_run:  # its config is in the workdir; the flag holds only changes
            FLAGS.set_default("config", str(Path(__file__).with_name("config_dict.py")))
        rest = FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        raise UserError(f"no flag --{error.flagname}: {_instead(error.flagname)}") from None
    except flags.Error as error:
        if own := _mistake_within(error):
            raise own from None
        text = str(error)  # contains the traceback if a config file raised a ValueError
        text = text.splitlines()[-1] if "Traceback" in text else " ".join(text.split())
        raise UserError(text) from error
    except UserError as error:
        raise _mistake_within(error) or error from None
    except Exception as error:  # a config file is a program and may raise anything
        file = next((flag for flag in argv if flag.startswith("--config=")), "--config")
        if isinstance(error, OSError) and (kept := _kept_by_ml_collections(error)):
            raise UserError(f"cannot read {file}: {kept}") from error
        if isinstance(error, KeyError) and "NoneType" in str(error):
            raise UserError(f"cannot read {file}: {_no_config(None)}") from error
        cause = error.args[0] if isinstance(error, KeyError) else error  # KeyError shows a repr
        if isinstance(error, OSError) and error.strerror:
            cause = f"{error.strerror} ({error.filename})"
        reason = str(cause).strip().splitlines() or [""]
        section = str(cause).strip("'\"")
        if isinstance(error, KeyError) and f"--config.{section}." in " ".join(argv):
            raise UserError(
                f"the config file has no section {section}: begin it with config ="
                " jaxcnn.config.recipes.recipe(NAME), or jaxcnn.config.config_dict.base_config()"
            ) from error
        raise UserError(f"cannot read {file}: {type(error).__name__}: {reason[-1]}") from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: write --config=FILE --workdir=DIR")
    return rest


def _check_exists(argv: list[str]) -> None:
    """Refuses a config file that does not exist.

    ml_collections reads the file while it parses any other `--config.…`, and wraps its errors.
    """
    for flag in argv:
        if not flag.startswith("--config="):
            continue
        path = flag.removeprefix("--config=").split(":")[0]
        if not path:
            raise UserError(MISSING)
        if os.path.isdir(path):
            raise UserError(f"--config={path} is a directory: name a file in it")
        if not os.path.exists(path):  # `Path` raises for names that no file system takes
            raise UserError(f"there is no config file {path!r}: {_files(Path(path))}")


def joined(argv: list[str]) -> list[str]:
    """Returns a command line with all flags in the form "--name=value"."""
    result, rest = argv[:1], argv[1:]
    while rest:
        match = re.fullmatch(r"--?([A-Za-z][\w.]*)(=.*)?", rest[0], re.DOTALL)
        if match is None:
            return result + rest
        name, given = match[1], match[2] or ""
        del rest[0]
        takes = not given and not (name in FLAGS and FLAGS[name].boolean)
        if takes and rest and re.match(r"[^-]|-[\d.]|$", rest[0]):
            given = f"={rest.pop(0)}"
        result.append(f"--{name}{given}")
    return result


def _instead(name: str) -> str:
    """Returns a suggestion for a flag that does not exist."""
    from jaxcnn.config.renamed import RENAMED
    from jaxcnn.config.schema import CHECKS

    fields = {old.rpartition(".")[2]: new for old, new in RENAMED.items()}
    fields |= {field.rpartition(".")[2]: field for field in reversed(CHECKS)}
    aliases = {alias: field.partition("=")[0] for alias, field in FIELDS.items()} | fields
    plain = name.replace("-", "_").removeprefix("config_")
    if plain in FIELDS or plain in fields:
        field = FIELDS.get(plain) or fields[plain]
        return f"set --config.{field}{'' if '=' in field else '=…'}"
    own = nearest(name, [flag for flag in FLAGS if "." not in flag])
    if "did you mean" not in own and (close := difflib.get_close_matches(plain, aliases, n=1)):
        return f"set --config.{aliases[close[0]]}=…"
    return own


def _files(path: Path) -> str:
    """Returns a suggestion of similar config files."""
    folder = path.parent if path.parent.is_dir() else Path("configs")
    names = [file.stem for file in folder.glob("*.py")] if folder.is_dir() else []
    return nearest(path.stem, names) if names else "see configs/"


def _mistake_within(error: BaseException | None) -> UserError | None:
    """Returns the error that a config file raised, from inside ml_collections' and absl's."""
    found = None
    while error is not None:
        found = error if isinstance(error, UserError) else found
        error = error.__cause__ or error.__context__
    return found


def _no_config(value: Any) -> str:
    """Returns why a config file gave this and no ConfigDict."""
    try:
        value.lock  # noqa: B018, any attribute of what stands for an error of the file raises it
    except OSError as error:
        return _kept_by_ml_collections(error)
    except AttributeError:
        pass
    return (
        f"its get_config returns {type(value).__name__} and not a ConfigDict: return what"
        " jaxcnn.config.recipes.recipe(NAME) gives"
    )


def _kept_by_ml_collections(error: OSError) -> str:
    """Returns the message of a config file's own OSError, if this one stands for it; else ""."""
    return " ".join(str(error).partition("failure to load:")[2].split())


def read_config() -> "RunConfig":
    """Returns the config of the command line; checks its fields and imports the user's network.

    Raises:
      UserError: if the file or a field does not exist, or the network cannot be imported.
    """
    if not FLAGS["config"].present and FLAGS.config is None:
        raise UserError(MISSING)
    if not isinstance(FLAGS.config, ConfigDict):
        path = config_flags.get_config_filename(FLAGS["config"])
        raise UserError(f"cannot read --config={path}: {_no_config(FLAGS.config)}")

    from jaxcnn.config import config_dict, user_modules

    config = config_dict.freeze(FLAGS.config)
    user_modules.import_model(config.model.name)
    user_modules.import_data(config.data.kind)
    return config


def run(main: Callable[[list[str]], Any], define: Callable[[], None]) -> NoReturn:
    """Runs a command; a `UserError` ends it with one line and an exit code.

    Args:
      main: called with the remaining command line.
      define: defines the command's own flags.
    """
    define_flags()
    define()
    with cli.mistakes_in_one_line(debug="--debug" in joined(sys.argv)):
        import jax  # noqa: F401, here, or its complaints would be taken for the config file's

        app.run(main, flags_parser=parse_flags)
    sys.exit(0)
