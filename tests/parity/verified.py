"""What the stored references say of each network, for the column `verified` of the published data.

  python -m tests.parity.verified

writes it there, and is to be run when references were added; a test compares.
"""

import json
from pathlib import Path

from jaxcnn import create_model
from jaxcnn.interop.tables import LIBRARIES
from jaxcnn.models import published
from tests.parity import references

KINDS = {"forward": "logits", "grad": "gradients", "trajectory": "training"}
FILE = Path(published.__file__).with_name("published.json")


def verified(name: str) -> str:
    """Returns the text, such as "torchvision 0.28.0 logits; family gradients, training"."""
    own, family = _evidence(name)
    texts = []
    for library, version in sorted({*own, *family}):
        fields = _differences(library, name)
        if fields is None:
            continue
        mine, others = own.get((library, version), set()), family.get((library, version), set())
        parts = [_words(mine, f"{library} {version} ")] if mine else []
        if others - mine:
            parts.append(
                _words(others - mine, "family " if mine else f"family {library} {version} ")
            )
        texts += parts
        if fields:
            texts[-1] += f" ({', '.join(fields)} as there)"
    return "; ".join(texts) or "counts"


def _words(found: set[str], before: str) -> str:
    return before + ", ".join(word for word in KINDS.values() if word in found)


def _evidence(name: str) -> tuple[dict, dict]:
    """Returns (library, version) → kinds, of the network itself and of its family.

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
    return own, family


def _differences(library: str, name: str) -> list[str] | None:
    """Returns the fields in which the library's network is another; None if it has none.

    Those that only training sees are left out: the references set them, or need none.
    """
    for network in LIBRARIES[library].values():
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
