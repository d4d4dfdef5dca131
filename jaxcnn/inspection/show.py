"""Makes what the command `jaxcnn.explain` is asked for, and says what it made."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxcnn.attribution.methods import METHODS
from jaxcnn.errors import UserError, nearest, printable
from jaxcnn.figures import style
from jaxcnn.inspection import attributions, sanity
from jaxcnn.inspection.images import Images
from jaxcnn.inspection.pictures import PICTURES, Looking
from jaxcnn.inspection.subject import Subject
from jaxcnn.io.atomic import whole_file
from jaxcnn.io.spinner import waiting

FIRST = 4  # images of a split that are explained where none is chosen
GROUPS: dict[str, tuple[str, ...]] = {"all": tuple(METHODS), "features": tuple(PICTURES)}


@dataclasses.dataclass(frozen=True)
class Shown:
    """What is shown, and how.

    Attributes:
      subject: the network.
      images: all images; None if none is named.
      chosen: numbers of those that are explained.
      layer: name of a layer; "" is the default of each method.
      maps: numbers of the maps of patches and evolution; none: the strongest.
      label: class that is explained; None is the likeliest of each image.
      out: folder for figures.
      csv: file for numbers, or None.
      seed: of methods that draw random numbers.
      batch: images at once.
      sanity: check the methods, too; see `inspection.sanity`.
    """

    subject: Subject
    images: Images | None
    chosen: Sequence[int]
    layer: str
    maps: Sequence[int]
    label: int | None
    out: Path
    csv: Path | None
    seed: int
    batch: int
    sanity: bool = False


def choose(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the methods of attribution and the pictures of features that a list means.

    Args:
      text: names with commas; "all" is all methods, "features" all pictures.

    Raises:
      UserError: for an unknown name, which gets the nearest, or for no name.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(f"--method={text} names no method: give all, features or names with commas")
    known = [*GROUPS, *METHODS, *PICTURES]
    for name in names:
        if name not in known:
            raise UserError(f"no method {name!r}: {nearest(name, known)}")
    methods, drawn = (
        tuple(one for one in table if group in names or one in names)
        for group, table in GROUPS.items()
    )
    return methods, drawn


def numbers(flag: str, text: str) -> list[int]:
    """Returns whole numbers from a list with commas.

    Raises:
      UserError: naming the flag, for anything else.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise UserError(f"{flag}={text}: give whole numbers with commas, such as 0,3,17")
    return list(dict.fromkeys(map(int, parts)))


def chosen(text: str, images: Images | None, *, of_split: bool) -> list[int]:
    """Returns the numbers of the images to explain: those of a list, all files, or a few.

    Args:
      text: of --index; "" means all files, or the first four of a split.
      images: all of them, or None.
      of_split: they are of a data set.

    Raises:
      UserError: for numbers that there are not.
    """
    if images is None:
        return []
    given = numbers("--index", text)
    for number in given:
        if number >= images.count:
            last = images.count - 1
            raise UserError(f"--index={number}: the images have numbers from 0 to {last:,}")
    return given or list(range(min(images.count, FIRST) if of_split else images.count))


def run(shown: Shown, methods: Sequence[str], drawn: Sequence[str]) -> None:
    """Makes pictures and numbers. What cannot be made is one line and stops nothing else.

    Raises:
      UserError: if nothing can be made, or a file cannot be written.
    """
    if methods and shown.images is None:
        raise UserError("name images to explain: files or folders, or --split of the run's data")
    if shown.csv and not methods:
        raise UserError("--csv holds the numbers of attribution methods: name some, or all")
    if shown.sanity and not sanity.checkable(methods):
        raise UserError("--sanity checks methods that explain an image: name some, or all")
    style.new_figure(1, 1)  # refuses before the work where matplotlib is missing
    refusals = []
    with contextlib.ExitStack() as scope:
        table = scope.enter_context(whole_file(shown.csv)) if shown.csv else None
        try:
            shown.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {shown.out}: {error.strerror or error}") from error
        if methods and shown.images:
            cases = _cases(shown, shown.images)
            results = list(_explain(shown, cases, methods))
            refusals += [result.refusal for result in results if result.answer is None]
            if table and len(refusals) < len(methods):
                attributions.write_csv(table, cases, results)
        refusals += _draw(shown, drawn)
        if len(refusals) == len(methods) + len(drawn):
            raise UserError(refusals[0])
    if shown.csv:
        print(printable(f"{shown.csv}: {_counted(cases, 'image')}, {_counted(methods, 'method')}"))
    if shown.images:
        shown.images.say_problems()


def _cases(shown: Shown, images: Images) -> list[attributions.Case]:
    """Returns the images that are explained, and says their classes."""
    taken, pixels = images.take(shown.chosen)
    names, truths = ([one(number) for number in taken] for one in (images.name, images.truth))
    cases = attributions.make_cases(shown.subject, names, pixels, truths, shown.label)
    for case in cases:
        print(printable(f"{case.name}: {case.words}"), flush=True)
    return cases


def _explain(
    shown: Shown, cases: Sequence[attributions.Case], methods: Sequence[str]
) -> Iterator[attributions.Result]:
    """Yields results as they are there; writes their overlays, and contact sheets at the end."""
    asked = attributions.ask(
        shown.subject, cases, layer=shown.layer, seed=shown.seed, batch=shown.batch
    )
    whole = []
    for number, method in enumerate(methods, 1):
        with waiting(f"{method} ({number} of {len(methods)})", _to_stderr):
            result = attributions.answer(shown.subject, asked, method)
        if result.answer is None:
            print(printable(f"{method}: left out: {result.refusal}"), flush=True)
        else:
            files = attributions.write_overlays(shown.out, cases, result)
            layer = f" of layer {result.answer.layer}" if result.answer.layer else ""
            line = f"{method}{layer}, {result.seconds:.1f} s: {files[0]}"
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            print(printable(line + more), flush=True)
            whole.append(result)
        yield result
    if whole:
        for file in attributions.write_sheets(shown.out, cases, whole):
            print(printable(f"{file}: {_counted(whole, 'method')}, side by side"), flush=True)
    checked = sanity.checkable([result.method for result in whole])
    if shown.sanity and checked:
        with waiting("randomising the network from the top", _to_stderr):
            found = sanity.check(shown.subject, asked[0], checked)
        files = sanity.write(shown.out, shown.subject, found)
        failing = ", ".join(found.failing()) or "none"
        line = f"failing, since their maps hardly depend on the parameters: {failing}"
        print(printable(f"{files[0]}, {files[1]}: {line}"), flush=True)


def _draw(shown: Shown, drawn: Sequence[str]) -> list[str]:
    """Writes pictures of features; returns the reasons of those that cannot be made."""
    look = Looking(shown.subject, shown.images, shown.chosen, shown.layer, shown.maps, shown.batch)
    refusals = []
    for name in drawn:
        try:
            with waiting(name, _to_stderr):
                for picture in PICTURES[name](look):
                    file = shown.out / f"{picture.name}.png"
                    style.save(picture.figure, file)
                    print(printable(f"{file}: {picture.line}"), flush=True)
        except UserError as error:
            print(printable(f"{name}: left out: {error}"), flush=True)
            refusals.append(str(error))
    return refusals


def _counted(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
