"""Prepares a data set from the files that it is published as, without TensorFlow or the network.

  python -m jaxcnn.data.prepare cifar10 --source=cifar-10-binary.tar.gz
  python -m jaxcnn.data.prepare imagenet2012 --source=DIR      # DIR/ILSVRC2012_img_*.tar
  python -m jaxcnn.data.prepare folder --source=photos         # photos/train/<class>/*.jpg, …
  python -m jaxcnn.data.prepare convert --source=DIR --out=DIR # from TFRecord, which TFDS writes

Nothing is unpacked, and nothing is seen in --out before it is whole. The same command goes on after
an interruption.
"""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jaxcnn.data.datasets.tfds import data_root
from jaxcnn.data.prepare import tfrecord, writer
from jaxcnn.data.prepare.cifar import read_cifar10, read_cifar100
from jaxcnn.data.prepare.folders import read_folder
from jaxcnn.data.prepare.idx import read_fashion_mnist, read_mnist
from jaxcnn.data.prepare.imagenet import read_imagenet
from jaxcnn.data.prepare.original import Original
from jaxcnn.data.prepare.svhn import read_svhn
from jaxcnn.errors import UserError, check_whole, nearest, printable
from jaxcnn.io import paths
from jaxcnn.run import cli, preemption

READERS: dict[str, Callable[[Path], Original]] = {
    "mnist": read_mnist,
    "fashion_mnist": read_fashion_mnist,
    "cifar10": read_cifar10,
    "cifar100": read_cifar100,
    "svhn": read_svhn,
    "imagenet2012": read_imagenet,
}
VERBS = (*READERS, "folder", "convert")
SECONDS = 30.0  # between progress lines without a terminal


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses the command line.

    Raises:
      UserError: if a data set or flag does not exist, or a value is not valid.
    """
    parser = cli.Parser(
        prog="python -m jaxcnn.data.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("dataset", help=f"one of {', '.join(VERBS)}")
    parser.add_argument("--source", required=True, type=Path, help="the files: folder or archive")
    parser.add_argument(
        "--out", default="", help="the folder of TFDS (TFDS_DATA_DIR, else ~/tensorflow_datasets)"
    )
    parser.add_argument("--name", default="", help="of a data set of folders (the folder's)")
    parser.add_argument(
        "--partial", action="store_true", help="take the splits and numbers of examples there are"
    )
    parser.add_argument(
        "--allow-bad", type=int, default=0, help="records to leave out if they are damaged (0)"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    flags = parser.parse_args(argv)
    if flags.dataset == "svhn_cropped":
        flags.dataset = "svhn"
    if flags.dataset not in VERBS:
        raise UserError(f"no data set {flags.dataset!r}: {nearest(flags.dataset, VERBS)}")
    if flags.name and flags.dataset != "folder":
        raise UserError(f"--name is for folder: {flags.dataset} has its name")
    check_whole("--allow-bad", flags.allow_bad, 0)
    flags.source = Path(paths.expand(str(flags.source)))
    return flags


@contextlib.contextmanager
def shown_progress() -> Iterator[writer.Progress]:
    """Yields a progress function: bars on a terminal, occasional lines elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    bars = Progress(*columns, disable=not sys.stdout.isatty())
    tasks = {}
    said = time.monotonic()

    def show(split: str, done: int, total: int) -> None:
        nonlocal said
        if split not in tasks:
            tasks[split] = bars.add_task(split, total=total)
        bars.update(tasks[split], completed=done)
        if bars.disable and (done == total or time.monotonic() > said + SECONDS):
            print(f"{split}: {done:,} of {total:,}", flush=True)
            said = time.monotonic()

    with bars:
        yield show


def main(argv: Sequence[str]) -> int:
    """Prepares a data set; returns the exit code.

    Raises:
      UserError: for errors that the user can fix.
    """
    flags = parse(argv)
    root = data_root(flags.out)
    try:
        with shown_progress() as progress:
            if flags.dataset == "convert":
                folder = tfrecord.convert(flags.source, root, progress=progress)
            else:
                if flags.dataset == "folder":
                    original = read_folder(flags.source, flags.name)
                else:
                    original = READERS[flags.dataset](flags.source)
                folder = writer.prepare(
                    original,
                    root,
                    partial=flags.partial,
                    allow_bad=flags.allow_bad,
                    progress=progress,
                )
    except KeyboardInterrupt:  # without a command's signal handlers
        preemption.tell("stopped; the same command continues")
        return 128 + signal.SIGINT
    except preemption.Stopped as stopped:
        preemption.print_stop_message("the same command continues")
        raise stopped
    print(f"prepared {printable(folder)}")
    return 0


if __name__ == "__main__":
    with cli.mistakes_in_one_line(debug="--debug" in sys.argv):
        sys.exit(main(sys.argv[1:]))
