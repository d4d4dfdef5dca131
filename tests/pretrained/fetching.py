"""Fetches weights in a process of its own: `python -m tests.pretrained.fetching CACHE CHANGES`."""

import ast
import sys
from pathlib import Path

from jaxcnn.errors import UserError
from jaxcnn.pretrained.fetch import fetch
from tests.pretrained.server import weights


def main(cache, changes):
    try:
        print(fetch(weights(**ast.literal_eval(changes)), cache=Path(cache)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(*sys.argv[1:])
