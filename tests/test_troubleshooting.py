"""The page of troubleshooting quotes messages of the code, and leaves none out."""

import ast
import functools
import re
import signal
from pathlib import Path

import pytest

from jaxcnn import errors

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
CODES = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(.+?)` \| (.+) \|$", PAGE, re.MULTILINE)
FILES = [*(ROOT / "jaxcnn").rglob("*.py"), ROOT / "launch" / "ablate.py"]
# The page describes the messages of networks and layers in a sentence, not one by one.
CONSTRUCTORS = ("models", "layers")


def text_of(node):
    """A literal with "…" for each part that varies; "" for what is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            getattr(part, "value", "…") if text_of(part) else "…" for part in node.values
        )
    if isinstance(node, ast.BinOp):
        return f"{text_of(node.left) or '…'}{text_of(node.right) or '…'}"
    return ""


def docstrings(tree):
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef
    return {ast.get_docstring(one, clean=False) for one in ast.walk(tree) if isinstance(one, kinds)}


@functools.cache
def trees():
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


@functools.cache
def texts():
    return {
        text
        for tree in trees().values()
        for text in {text_of(node) for node in ast.walk(tree)} - docstrings(tree)
    }


OF_CLASS = {
    "UserError": "EXIT_USAGE",
    "MissingSplitError": "EXIT_USAGE",
    "DivergedError": "EXIT_BAD_DATA",
    "InUseError": "EXIT_WORKDIR",
}


def raised():
    """(message, exit code's name, path) of each `UserError` that is raised with a literal."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in OF_CLASS and node.args:
                code = ast.unparse(node.args[1]) if len(node.args) > 1 else OF_CLASS[node.func.id]
                yield text_of(node.args[0]), code, path


def letters(text):
    return len(re.sub(r"[^a-z]", "", text))


def fits(row, message):
    """Whether the fixed parts of a row are in the message, in their order."""
    end = 0
    for part in parts(row):
        start = message.find(part, end)
        if start < 0:
            return False
        end = start + len(part)
    return True


@functools.cache
def parts(row):
    return [part.strip() for part in row.split("…")]


@pytest.mark.slow
def test_messages_on_the_page_are_in_the_code():
    assert len(ROWS) > 250
    assert not [row for row, _ in ROWS if not any(fits(row, text) for text in texts())]


@pytest.mark.slow
def test_messages_of_the_code_are_on_the_page():
    """A row that fits everything, such as "… is not …", counts only for messages like itself."""
    rows = [row for row, _ in ROWS if letters(row) >= 7]
    plain = [row for row, _ in ROWS if letters(row) < 7]
    missing = {
        message
        for message, _, path in raised()
        if path.relative_to(ROOT).parts[1] not in CONSTRUCTORS
        and letters(message) >= 4
        and not any(fits(row, message) for row in rows)
        and not (letters(message) < 12 and any(fits(row, message) for row in plain))
    }
    assert not missing, "add a row to docs/troubleshooting.md"


def test_exit_codes_of_the_rows_are_those_of_the_code():
    names = {value: name for name, value in vars(errors).items() if name.startswith("EXIT_")}
    messages = list(raised())
    for row, meaning in ROWS:
        found = {code for message, code, _ in messages if fits(row, message)}
        if (stated := re.search(r"[Ee]xit code (\d+)", meaning)) and found:
            assert names[int(stated[1])] in found, row


def test_every_exit_code_has_a_line():
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", CODES, re.MULTILINE)}
    own = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE}
    assert listed == {0} | own | {128 + number for number in signals}


@pytest.mark.slow
@pytest.mark.parametrize("row", ["no such message anywhere …", "… is in use BY …"])
def test_a_message_that_is_gone_is_noticed(row):
    assert not any(fits(row, text) for text in texts())
