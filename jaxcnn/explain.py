"""Shows what in an image speaks for a class, and what the features of a network respond to.

  python -m jaxcnn.explain --workdir=runs/resnet18-photos cat.jpg --out=explained
  python -m jaxcnn.explain --workdir=runs/resnet18-photos --method=grad_cam,occlusion photos/
  python -m jaxcnn.explain --workdir=runs/zfnet-digits --method=all --split=test --index=3,17
  python -m jaxcnn.explain --workdir=runs/zfnet-digits --method=features --split=test
  python -m jaxcnn.explain --weights=weights/resnet50 --class=281 cat.jpg --csv=numbers.csv

--method=all, the default, is every attribution method; for each image and method a file shows the
image and beside it what the method says, sheet.png shows all, and --csv keeps the numbers. The
class is the likeliest of each image, or --class=NAME. Methods that look at one layer take the last
maps before the pooling, or --layer=NAME; --layer=list names all.

--sanity also checks the methods on this network: it makes the parameters random, from the top layer
down, and measures how similar the maps stay (Adebayo et al., "Sanity Checks for Saliency Maps",
2018). It takes as many times as long as the network has units.

--method=features is every picture of the network itself, and these names are single ones: filters
(of the first convolution), maps (of an image, at every stage), patches (that excite a map most, and
their deconvolutions), evolution (of a map's strongest projection over the checkpoints of a run, see
the field checkpoint.keep_at), likeliest (classes of an image, and its neighbours), class_maps
(Network in Network) and occluded (answers when a grey square covers a part). patches, evolution and
likeliest look at all images that are named; --index chooses those that are explained.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxcnn.errors import UserError, check_whole, printable
from jaxcnn.inspection import attributions, images, pictures, show, subject
from jaxcnn.run import cli, trained


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Returns the command line.

    Raises:
      UserError: for a flag that does not exist or a value that it does not take.
    """
    parser = cli.Parser(
        prog="python -m jaxcnn.explain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE|DIR")
    trained.add_flags(parser)
    parser.add_argument("--fresh", default="", metavar="NAME", help="a network, random weights")
    parser.add_argument("--image-size", type=int, default=0, help="pixels, with --fresh")
    parser.add_argument("--method", default="all", help="all, features, or names with commas")
    parser.add_argument("--split", default="", help="images of the run's data: train, test …")
    parser.add_argument("--index", default="", help="numbers of the images to explain, with commas")
    parser.add_argument("--class", dest="label", default="", help="to explain, name or number")
    parser.add_argument("--layer", default="", help="a layer's name, or list")
    parser.add_argument("--maps", default="", help="numbers of the maps of patches and evolution")
    parser.add_argument("--out", type=Path, default=Path("explained"), help="folder (explained)")
    parser.add_argument("--csv", type=Path, help="a file for the numbers")
    parser.add_argument("--seed", type=int, default=0, help="of methods that draw numbers (0)")
    parser.add_argument("--batch", type=int, default=16, help="images at once (16)")
    parser.add_argument("--sanity", action="store_true", help="check the methods, too")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    flags = parser.parse_args(argv)
    given = [name for name in ("workdir", "weights", "fresh") if getattr(flags, name)]
    if len(given) != 1:
        raise UserError("name one network: --workdir=DIR, --weights=NAME|DIR or --fresh=NAME")
    if flags.image_size and not flags.fresh:
        raise UserError("--image-size is of a --fresh network: others have their own")
    if (flags.checkpoint != "latest" or flags.model) and not flags.workdir:
        raise UserError("--checkpoint and --model are of a run: give its --workdir")
    if flags.split and flags.images:
        raise UserError("give either --split or image files")
    check_whole("--batch", flags.batch)
    check_whole("--seed", flags.seed, 0, 2**32 - 1)
    return flags


def main(argv: Sequence[str]) -> None:
    """Explains.

    Raises:
      UserError: for whatever the user can put right; if no method and no picture can be made.
    """
    flags = parse(argv)
    methods, drawn = show.choose(flags.method)
    network = _network(flags)
    if flags.layer == "list":
        for node in pictures.graph_of(network, 1).nodes:
            print(printable(f"{node.name}  {node.kind}  {'x'.join(map(str, node.shape))}"))
        return
    if flags.layer:
        _ = pictures.graph_of(network, 1)[flags.layer]  # refuses an unknown one
    seen = _images(flags, network)
    shown = show.Shown(
        network,
        seen,
        show.chosen(flags.index, seen, of_split=bool(flags.split)),
        layer=flags.layer,
        maps=show.numbers("--maps", flags.maps),
        label=attributions.class_number(flags.label, network.network.class_names),
        out=flags.out,
        csv=flags.csv,
        seed=flags.seed,
        batch=flags.batch,
        sanity=flags.sanity,
    )
    show.run(shown, methods, drawn)


def _network(flags: argparse.Namespace) -> subject.Subject:
    if flags.fresh:
        return subject.of_name(flags.fresh, flags.image_size)
    trained.check_flags(flags)
    return subject.of_trained(trained.of_flags(flags))


def _images(flags: argparse.Namespace, network: subject.Subject) -> images.Images | None:
    if flags.split:
        return images.of_split(network, flags.split)
    return images.of_files(network, flags.images) if flags.images else None


if __name__ == "__main__":
    with cli.mistakes_in_one_line(debug="--debug" in sys.argv):
        cli.set_up()
        main(sys.argv[1:])
