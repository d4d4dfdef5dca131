"""Writes the files in configs/, one per network.

python -m jaxcnn.config.generate configs

A file has a call of `recipe` and a docstring about the network: title, paper, error, counts (all
from `models/published.json`) and the commands of its recipes. Run the command after changing a
network or recipe; a test compares the files. Files of `HAND_WRITTEN` are not changed.
"""

import sys
import textwrap
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcnn.config import datasets
from jaxcnn.config.recipes import NETWORKS, recipe, recipe_file, recipes_of
from jaxcnn.models.published import networks, papers

# They have their own measurements or a second source.
HAND_WRITTEN = ("ladder", "ladder_conv_large_gamma", "resnet50_modern")
SECOND_RECIPE = "resnet50_modern"  # in addition to the paper's recipe
WIDTH = 100  # columns
TESTED = {
    "ten_crop": "on ten crops",
    "dense": "densely, at Q = 256",
    "googlenet144": "on 144 crops",
    "center": "on one centre crop",
}
BENCHMARKS = {
    "ImageNet-1k val": "imagenet2012",
    "CIFAR-10 test": "cifar10",
    "CIFAR-100 test": "cifar100",
    "SVHN test": "svhn",
    "MNIST test": "mnist",
}


def files() -> dict[str, str]:
    """Returns the text of each generated file, by name without extension."""
    stems = {network: stem for stem, network in NETWORKS.items() if stem != SECOND_RECIPE}
    named = {stems.get(network, network): network for network in networks()}
    return {
        stem: text(stem, network) for stem, network in named.items() if stem not in HAND_WRITTEN
    }


def text(stem: str, network: str) -> str:
    """Returns the text of a network's file, `configs/<stem>.py`.

    Raises:
      UserError: if the network has no recipe.
    """
    row = networks()[network]
    paper = papers()[row["paper"]]
    title = row["title"] if stem == network else f"{row['title']} (`{network}`)"
    source = f'{paper["authors"]}, "{paper["title"]}", {paper["year"]}. {paper["url"]}'
    facts = [_error(row), _note(row["notes"]), _tested(stem, row), _counts(row), _digits(stem)]
    where = (
        f"What is the paper's and what is ours: jaxcnn/config/recipes/{recipe_file(network)}.py."
    )
    lines = [_filled(fact) for fact in (*facts, where) if fact]
    header = [f"{title}.", _filled(source), "\n".join(lines), *_commands(stem)]
    return (
        '"""'
        + "\n\n".join(header)
        + f'''
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("{stem}", dataset)
'''
    )


def _filled(paragraph: str) -> str:
    return textwrap.fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)


def _error(row: dict[str, Any]) -> str:
    """Returns the published error and its test protocol."""
    top1, top5, dataset = row["top1_err"], row["top5_err"], row["dataset"]
    if top1 is None and top5 is None:
        return f"{dataset} error: none is published."
    if isinstance(top1, dict):  # by image size
        first, *others = (f"{error} % at {size}" for size, error in top1.items())
        return f"{dataset} error, top-1: {first} ({', '.join(others)}), {row['crop_protocol']}."
    kinds = "" if top5 is None else ", top-1 / top-5"
    errors = f"{'-' if top1 is None else top1}" + ("" if top5 is None else f" / {top5}")
    return f"{dataset} error{kinds}: {errors} %, {row['crop_protocol']}."


def _note(notes: str | None) -> str:
    return f"{notes[0].upper()}{notes[1:]}." if notes else ""


def _tested(stem: str, row: dict[str, Any]) -> str:
    """Returns how a run with the published recipe is tested."""
    config = recipe(stem, _benchmark(stem, row))
    if config.data.eval_crop != "center":
        return ""
    size = config.data.eval_image_size
    one_crop = f"on one {size} crop" if size else TESTED["center"]
    protocol = config.eval.protocol
    return f"A run here is tested {one_crop if protocol == 'center' else TESTED[protocol]}."


def _benchmark(stem: str, row: dict[str, Any]) -> str:
    """Returns the data set of the published error, or digits if it has no recipe."""
    published = recipes_of(stem).published
    name = BENCHMARKS[row["dataset"]]
    return name if name in published else "digits"


def _counts(row: dict[str, Any]) -> str:
    """Returns parameters, multiply-adds and, if known, the smallest image size."""
    others = [
        f"{count:,} with {classes} classes"
        for classes, count in (row["params_by_classes"] or {}).items()
    ]
    if row["params_with_aux"]:
        others.append(f"{row['params_with_aux']:,} with the auxiliary heads, which only train")
    height, width, _ = row["input_size"]
    size = f"{height}x{width}"
    more = f" ({'; '.join(others)})" if others else ""
    line = f"{row['params']:,} parameters{more}; {row['macs'] / 1e9:#.4g} GMACs per {size} image."
    least = row["smallest_side"]
    return f"{line} Images of {least}x{least} or larger." if least else line


def _digits(stem: str) -> str:
    """Returns a description of the recipe for digits: size, length, network fields."""
    config: ConfigDict = recipe(stem)
    side = config.data.image_size
    fields = [f"{name}={value}" for name, value in sorted(config.model.overrides.to_dict().items())]
    fields += [f"kernel_init={config.model.kernel_init}"] * bool(config.model.kernel_init)
    line = f"Digits: {side}x{side} images, {config.train.length.removesuffix('epochs')} epochs"
    return f"{line}; {', '.join(fields)}." if fields else f"{line}."


def _commands(stem: str) -> list[str]:
    """Returns the commands, and a line with the data sets of our own recipes."""
    offered = recipes_of(stem)
    command = f"python -m jaxcnn.main --config=configs/{stem}.py"
    lines = [(command, "offline digits")]
    lines += [
        (f"{command}:{name}", "paper's recipe")
        for name in datasets.DATASETS
        if name in offered.published
    ]
    if "folder" in offered.ours:
        lines.append((f"{command}:folder --config.data.dir=DIR", ""))
    width = max(len(line) for line, comment in lines if comment)
    block = [
        f"  {line:<{width}}  # {comment}" if comment else f"  {line}" for line, comment in lines
    ]
    ours = [
        f":{name}"
        for name in datasets.DATASETS
        if name in offered.ours
        and name not in offered.published
        and name not in ("digits", "folder")
    ]
    listed = f"{', '.join(ours[:-1])} and {ours[-1]}" if len(ours) > 1 else ours[0]
    return ["\n".join(block), f"By a recipe of ours: {listed}."]


def stale(folder: Path, wanted: dict[str, str]) -> list[Path]:
    """Returns the files in `folder` that are missing or differ from `wanted`; see `files`."""
    found = []
    for stem, text in wanted.items():
        file = folder / f"{stem}.py"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            found.append(file)
    return found


def main(argv: list[str]) -> None:
    """Writes stale files to the folder given on the command line."""
    if len(argv) != 2 or not Path(argv[1]).is_dir():
        sys.exit("write: python -m jaxcnn.config.generate configs")
    wanted = files()
    for file in stale(Path(argv[1]), wanted):
        file.write_text(wanted[file.stem], encoding="utf-8")
        print(file)


if __name__ == "__main__":
    main(sys.argv)
