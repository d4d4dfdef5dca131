"""Writes docs/fields.md: every field of a config.

python docs/fields.py
"""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import jaxcnn
from jaxcnn.config.schema import DOCS, FIELDS, RunConfig, values_of

PAGE = Path(__file__).with_name("fields.md")
HEAD = """# Fields of a config

Any field can be set on the command line, `--config.train.batch_size=128`, or in a config file.
`python -m jaxcnn.main --config=NAME --mode=show` prints the fields of a config with their values
and where these came from. Lengths are texts such as `90epochs`, `64000steps` or `never`.
"""
HEADER = """| field | default | meaning | declared in `jaxcnn/` |
|---|---|---|---|
"""


def declared_in(name: str) -> str:
    """Returns the file of the dataclass that declares a field, in the folder jaxcnn."""
    kind: Any = RunConfig
    *sections, field = name.split(".")
    for section in sections:
        kind = next(one.type for one in dataclasses.fields(kind) if one.name == section)
    declaring = (one for one in reversed(kind.__mro__) if field in inspect.get_annotations(one))
    file = Path(inspect.getfile(next(declaring)))
    return file.relative_to(Path(jaxcnn.__file__).parent).as_posix()


def page() -> str:
    """Returns the page, one table for each section."""
    defaults, parts, last = values_of(RunConfig()), [HEAD], None
    for name in FIELDS:
        section = name.rpartition(".")[0]
        if section != last:
            parts.append(f"\n## {section or 'The run'}\n\n{HEADER}")
            last = section
        doc = DOCS[name].replace("|", "\\|")
        parts.append(f"| `{name}` | `{defaults[name]!r}` | {doc} | `{declared_in(name)}` |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
