"""Writes the report of a run, or of several beside one another, as one HTML page.

  python -m jaxcnn.report --workdir=runs/lenet5-digits --out=report.html
  python -m jaxcnn.report --workdir=runs/lenet5-digits,runs/densenet_40_12-digits --out=both.html

The page shows what was run, the curves, the final figures with intervals, confusion, the worst
mistakes with their attribution, calibration, speed and memory, and the network. Of several runs it
shows the fields that differ beside the results, the curves over one another, and McNemar's test on
the same images. It opens from a file, without network and scripts. The data of the runs are needed
to evaluate the networks; without them, those parts are left out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxcnn.errors import UserError, printable
from jaxcnn.run import cli


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Returns the command line; `workdirs` are paths.

    Raises:
      UserError: for a flag that does not exist, or no workdir.
    """
    parser = cli.Parser(
        prog="python -m jaxcnn.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--workdir", required=True, help="of the run; several with commas")
    parser.add_argument("--out", default="report.html", type=Path, help="the page (report.html)")
    parser.add_argument("--checkpoint", default="latest", help="latest, best or a step (latest)")
    parser.add_argument("--model", default="", help="a network of your own: MODULE:ATTRIBUTE")
    parser.add_argument("--data", default="", help="data of your own: MODULE:FUNCTION")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    flags = parser.parse_args(argv)
    whole = (Path(flags.workdir) / "config.json").exists()  # its name may have a comma
    names = [flags.workdir] if whole else flags.workdir.split(",")
    flags.workdirs = [Path(name) for name in names if name.strip()]
    if not flags.workdirs:
        raise UserError("--workdir names no run: give the workdir of one, or several with commas")
    return flags


def main(argv: Sequence[str]) -> None:
    """Writes the page and says where.

    Raises:
      UserError: see `reporting.report.write`.
    """
    from jaxcnn.reporting import report

    flags = parse(argv)
    report.write(
        flags.workdirs,
        flags.out,
        checkpoint=flags.checkpoint,
        model=flags.model,
        data=flags.data,
    )
    print(f"{printable(flags.out)}: {flags.out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    with cli.mistakes_in_one_line(debug="--debug" in sys.argv):
        cli.set_up()
        main(sys.argv[1:])
