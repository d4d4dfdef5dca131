"""What the stored references say of each network, for the column `verified` of the published data.

  python -m tests.parity.verified

writes it there, and is to be run when references were added; a test compares.
"""

import json
from pathlib import Path

from jaxcnn import create_model
from jaxcnn.interop.name_tables import LIBRARIES
from jaxcnn.models import published
from tests.parity import references

KINDS = {"forward": "logits", "grad": "gradients", "trajectory": "training"}
Library = tuple[str, str]  # name, version
FILE = Path(published.__file__).with_name("published.json")


def verified(name: str) -> str:
    """Returns the text, such as "torchvision 0.28.0 logits; family timm 1.0.31 gradients".

    Of the family only what the network itself does not have, and of each kind one library.
    """
    own, family = _evidence(name)
    texts, seen = [], set().union(*own.values())
    for library, words in own.items():
        texts.append(_text(name, library, words))
    for library, words in family.items():
        if words - seen and _differences(name, library) is not None:
            texts.append("family " + _text(name, library, words - seen))
            seen |= words
    return "; ".join(texts) or "counts"


def _text(name: str, library: Library, words: set[str]) -> str:
    fields = _differences(name, library)
    listed = ", ".join(word for word in KINDS.values() if word in words)
    return " ".join([*library, listed]) + (f" ({', '.join(fields)} as there)" if fields else "")


def _evidence(name: str) -> tuple[dict[Library, set[str]], dict[Library, set[str]]]:
    """Returns what references show of the network itself, and of its family.

    The family are the networks of the same class and paper that have references, and members of
    them without a name.
    """
    own, family = {}, {}
    rows = published.networks()
    for kind, word in KINDS.items():
        for reference in references.names(kind):
            entry = references.entry(reference)
            other = LIBRARIES[entry["library"]][entry["model"]].model
            if rows[other]["paper"] != rows[name]["paper"]:
                continue
            if type(create_model(other)) is not type(create_model(name)):
                continue
            found = own if other == name and not entry.get("overrides") else family
            found.setdefault((entry["library"], entry["version"]), set()).add(word)
    return own, dict(sorted(family.items(), reverse=True))  # torchvision before timm


def _differences(name: str, library: Library) -> list[str] | None:
    """Returns the fields in which the library's network is another; None if it has none.

    Those that only training sees are left out: the references set them, or need none.
    """
    for network in LIBRARIES[library[0]].values():
        if network.model == name:
            return sorted(set(network.fields) - {"norm_momentum", "dropout_rate"})
    return None


def main() -> None:
    """Writes the column; one paper and one network stay one line each."""
    data = json.loads(FILE.read_text(encoding="utf-8"))
    for name, row in data["networks"].items():
        row["verified"] = verified(name)
    parts = []
    for part, rows in data.items():
        lines = [
            f"  {json.dumps(key)}: {json.dumps(row, ensure_ascii=False)}"
            for key, row in rows.items()
        ]
        parts.append(f' "{part}": {{\n' + ",\n".join(lines) + "\n }")
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
