"""Makes the page of one run, or of several beside one another."""

import logging
from collections.abc import Sequence
from pathlib import Path

from jaxcnn.analysis.tracing.graph import trace_shapes
from jaxcnn.config import build_data, user_modules
from jaxcnn.errors import EXIT_WORKDIR, UserError, printable, reason
from jaxcnn.figures.page import Block, Fold, Page, Section, check_installed, render
from jaxcnn.io.atomic import whole_file
from jaxcnn.reporting import comparison, sections
from jaxcnn.reporting.mistakes import mistakes
from jaxcnn.reporting.network import network
from jaxcnn.reporting.runs import Examined, bias, examine, names_of
from jaxcnn.run import distributed, versions
from jaxcnn.run.workdir import REPORT
from jaxcnn.training import selection

LOG = logging.getLogger("jaxcnn")


def write(
    directories: Sequence[Path],
    out: Path,
    *,
    checkpoint: str = "latest",
    model: str = "",
    data: str = "",
) -> None:
    """Writes the page, whole or not at all.

    Args:
      directories: workdirs, at least one.
      out: an HTML file.
      checkpoint: "latest", "best" or a step.
      model: a network of the user's own, `MODULE:ATTRIBUTE`, to import; what a workdir names is
        never imported.
      data: data of the user's own, likewise.

    Raises:
      UserError: no such workdir or checkpoint; jinja2 or matplotlib is missing; the file cannot be
        written.
    """
    check_installed()
    user_modules.import_model(model)
    user_modules.import_data(data)
    names = names_of(directories)
    with whole_file(out, EXIT_WORKDIR) as file:
        runs = [
            examine(directory, name, checkpoint=checkpoint)
            for directory, name in zip(directories, names, strict=True)
        ]
        file.write(render(page_of(runs, checkpoint)).encode("utf-8"))


def write_at_end(directory: Path) -> None:
    """Writes the page of a run that has just ended into its workdir; warns if it cannot.

    Of several processes none does: the evaluation of one would wait for the others.
    """
    try:
        if distributed.process_count() > 1:
            raise UserError("the run has several processes")
        write([directory], directory / REPORT)
    except Exception as error:  # a run never fails for its report
        why = str(error) if isinstance(error, UserError) else reason(error)
        LOG.warning(
            "no %s was written (%s); python -m jaxcnn.report --workdir=%s tries again",
            REPORT,
            printable(why),
            directory,
        )


def page_of(runs: Sequence[Examined], checkpoint: str = "latest") -> Page:
    """Returns the page of runs that are examined.

    Args:
      runs: at least one.
      checkpoint: which one it is of, as the user gave it.
    """
    footer = f"Made with {versions.command()}"
    if len(runs) == 1:
        subtitle = str(runs[0].directory)
        return Page(_title(runs[0]), subtitle, sections_of(runs[0], checkpoint), footer)
    together = [
        Section("Results", comparison.results(runs)),
        Section("Differences on the same images", comparison.pairs(runs)),
        Section("Curves", comparison.curves_together(runs)),
        Section("Classes", comparison.by_class(runs)),
        Section("Images that divide the runs", comparison.dividing(runs)),
        Section("Calibration", comparison.calibration_together(runs)),
    ]
    each = [
        Section(run.name, [Fold(part.title, part.blocks) for part in sections_of(run, checkpoint)])
        for run in runs
    ]
    title = f"{len(runs)} runs: {', '.join(dict.fromkeys(map(_title, runs)))}"
    return Page(title, ", ".join(str(run.directory) for run in runs), [*together, *each], footer)


def _title(run: Examined) -> str:
    return f"{run.config.model.name} on {run.config.dataset or run.config.data.kind}"


def sections_of(run: Examined, checkpoint: str) -> list[Section]:
    """Returns the sections about one run."""
    graph = trace_shapes(run.model, run.image_shape)
    macs = sum(node.macs for node in graph.nodes)
    notes = [bias(run, checkpoint) or _selection(run)]
    made: list[tuple[str, list[Block]]] = [
        ("Result", sections.result(run, notes)),
        ("What was run", sections.provenance(run)),
        ("Curves", sections.training_curves(run)),
    ]
    if run.answers is not None:
        made += [
            ("Classes", sections.classes(run, run.answers)),
            ("Worst mistakes", mistakes(run, run.answers)),
            ("Calibration", sections.calibrated(run.answers)),
        ]
    made += [("Speed and memory", sections.speed(run, macs)), ("Network", network(run, graph))]
    return [Section(title, blocks) for title, blocks in made if blocks]


def _selection(run: Examined) -> str:
    return selection.warning(run.config, build_data.validation_split(run.config), run.split)
