"""Checks commands without doing their work: `python -m tests.shell_blocks FILE`, one a line.

Each command is given to its own parser, in a process of its own. A config is built and its network.
Commands that cost little run: `--mode=show`, `jaxcnn.doctor`. Prints the commands that are wrong.
The current folder is the one in which the commands would run.
"""

import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import jax

import jaxcnn.benchmark.__main__
import jaxcnn.data.prepare.__main__
from jaxcnn import (
    ablate,
    doctor,
    explain,
    export,
    features,
    flow,
    main,
    predict,
    preview,
    probe,
    report,
    summary,
)
from jaxcnn.config import build, flags, schema
from jaxcnn.interop import convert

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PARSERS = {
    "jaxcnn.ablate": ablate.parse,
    "jaxcnn.benchmark": jaxcnn.benchmark.__main__.parse,
    "jaxcnn.data.prepare": jaxcnn.data.prepare.__main__.parse,
    "jaxcnn.doctor": doctor.main,
    "jaxcnn.explain": explain.parse,
    "jaxcnn.export": export.parse,
    "jaxcnn.features": features.parse,
    "jaxcnn.probe": probe.parse,
    "jaxcnn.interop.convert": convert.parse_flags,
    "jaxcnn.predict": predict.parse,
    "jaxcnn.report": report.parse,
    "jaxcnn.flow": flow.parse,
    "jaxcnn.summary": summary.parse,
}


def with_config(module, arguments):
    """Parses a command that takes a config, and builds the network of the config."""
    from ml_collections import config_flags

    flags.define_flags()
    (main.define_flags if module is main else preview.define_flags)()
    sys.argv = [module.__name__, *arguments]
    flags.parse_flags(sys.argv)
    if module is main:
        main.check_mode()
        if flags.FLAGS.mode == "show":
            main.print_config()
        if flags.FLAGS.mode == "evaluate" and flags.FLAGS.workdir:  # the run's config, changed
            schema.changed(
                schema.RunConfig(), config_flags.get_override_values(flags.FLAGS["config"])
            )
            return
    config = flags.read_config()
    build.make_model(config, config.data.num_classes)


def of_module(name, arguments):
    if name in ("jaxcnn.main", "jaxcnn.preview"):
        if arguments:
            with_config(importlib.import_module(name), arguments)
    elif arguments and name in PARSERS:
        given = PARSERS[name](arguments)
        assert name != "jaxcnn.ablate" or given.all or given.file.is_file(), "no such file"
    else:
        assert importlib.util.find_spec(name), f"no module {name}"
        assert all(Path(argument).exists() for argument in arguments), arguments


def of_file(path, arguments):
    assert Path(path).is_file(), f"no file {path}"
    known = Path(path).read_text(encoding="utf-8")
    for argument in arguments:
        assert f'"{argument.partition("=")[0]}"' in known, f"{path} has no flag {argument}"


def of_pip(what):
    target = what[-1]
    extras = re.fullmatch(r"\.(?:\[(.*)\])?", target)
    assert what[:-1] == ["install", "-e"]
    assert extras, target
    unknown = set((extras[1] or "").split(",")) - {"", *PROJECT["optional-dependencies"]}
    assert not unknown, unknown


def of_pytest(arguments):
    from _pytest.config import _prepareconfig

    os.chdir(ROOT)
    _prepareconfig(["-p", "no:cacheprovider", *arguments])


def check(words):
    """Raises an exception, or ends the process, if a command is wrong."""
    while re.match(r"[A-Z_]+=", words[0]):
        del words[0]
    program, *rest = words
    if program == "python" and rest[0] == "-m":
        of_module(rest[1], rest[2:])
    elif program == "python":
        of_file(rest[0], rest[1:])
    elif program == "pip":
        of_pip(rest)
    elif program == "pytest":
        of_pytest(rest)
    elif "/" in program:
        subprocess.run(["bash", "-n", program], check=True)
    else:
        tools = [tool for kind in PROJECT["optional-dependencies"].values() for tool in kind]
        assert any(tool.startswith(program) for tool in tools), f"no tool {program}"


def run(path):
    """Checks the commands of a file."""
    jax.config.update("jax_platforms", "cpu")
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(os.open(f"{path}.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
                check(shlex.split(line))
                code = 0
            except SystemExit as error:
                code = int(bool(error.code))
            except BaseException as error:
                print(f"{line}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(code)
        if os.waitpid(child, 0)[1] != 0:
            print(line, flush=True)


if __name__ == "__main__":
    run(sys.argv[1])
