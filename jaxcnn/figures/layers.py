"""The layer table of a network as text, as rows of a CSV file and for a page."""

from collections.abc import Iterator, Sequence

from jaxcnn.analysis.layer_table import Row, Summary
from jaxcnn.figures import page

COLUMNS = (
    *("layer", "kind", "output", "units", "params", "macs", "receptive_field", "stride"),
    *("start", "detail", "connections", "activation_bytes"),
)
HEAD = ("layer", "kind", "output", "parameters", "multiply-adds", "receptive field", "stride")


def csv_rows(summary: Summary) -> Iterator[tuple[object, ...]]:
    """Yields the rows of a CSV file with the columns `COLUMNS`; shapes are "224x224x3"."""
    for row in summary.rows:
        yield (
            row.layer,
            row.kind,
            "x".join(map(str, row.output)),
            row.units,
            row.params,
            row.macs,
            _field(row),
            _stride(row),
            "" if row.receptive_field is None else _pair(row.receptive_field.start),
            row.detail,
            row.connections,
            row.activation_bytes,
        )


def text(summary: Summary, depth: int = 0) -> str:
    """Returns the table as lines of text, with a line of sums for every stage.

    Args:
      summary: of a network.
      depth: levels of names that are shown: 1 is a line for each stage, 2 for each unit; 0 is a
        line for each layer.
    """
    lines: list[tuple[str, ...]] = [HEAD]
    for stage, rows in _stages(summary.rows):
        grouped = _grouped(rows, depth)
        if len(grouped) > 1:
            lines.append((stage, f"{len(rows)} layers", "", *_sums(rows), "", ""))
        indent = "  " if len(grouped) > 1 else ""
        lines += [(indent + row.layer, *_cells(row)[1:]) for row in grouped]
    lines.append(("total", f"{len(summary.rows)} layers", "", *_sums(summary.rows), "", ""))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    aligned = [
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*aligned, *summary.notes])


def markdown(summary: Summary, depth: int = 1) -> str:
    """Returns the table as Markdown, with a row of sums at the end.

    Args:
      summary: of a network.
      depth: see `text`.
    """
    head = [HEAD, ("---", "---", "---", "--:", "--:", "--:", "--:")]
    rows = [_cells(row) for row in _grouped(summary.rows, depth, listed=3)]
    total = ("**total**", f"{len(summary.rows)} layers", "", *_sums(summary.rows), "", "")
    named = [(f"`{name}`", *cells) for name, *cells in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (*head, *named, total))


def blocks(summary: Summary) -> list[page.Block]:
    """Returns the table for a page: one that opens for every stage, the sums, and the notes."""
    parts: list[page.Block] = []
    for stage, rows in _stages(summary.rows):
        params, macs = _sums(rows)
        layers = f"{len(rows)} layer{'s' * (len(rows) != 1)}"
        title = f"{stage}: {layers}, {params} parameters, {macs} multiply-adds"
        table = page.Table(HEAD, [_cells(row) for row in rows], align="lllrrrr")
        parts.append(page.Fold(title, [table]))
    params, macs = _sums(summary.rows)
    total = f"total: {len(summary.rows)} layers, {params} parameters, {macs} multiply-adds"
    return [*parts, *(page.Text(text) for text in (total, *summary.notes))]


def _stages(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yields the stages in the order of their first layers; layers of no stage stand alone."""
    stages: dict[str, list[Row]] = {}
    for row in rows:
        stages.setdefault(row.stage, []).append(row)
    yield from stages.items()


def _grouped(rows: Sequence[Row], depth: int, listed: int = 1) -> list[Row]:
    """Returns one row for all layers whose names begin with the same parts.

    Args:
      rows: of a summary.
      depth: number of parts; 0 is a row for each layer.
      listed: of at most so many layers the row says what they are.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        parts = row.layer.split("/")
        groups.setdefault("/".join(parts[:depth] if depth else parts), []).append(row)

    def kind(own: Sequence[Row]) -> str:
        kinds = "; ".join(f"{row.kind} {row.detail}".rstrip() for row in own)
        return kinds if len(own) <= listed else f"{len(own)} layers"

    return [
        own[0]
        if len(own) == 1
        else own[-1]._replace(
            layer=name,
            kind=kind(own),
            detail="",
            units=sum(row.units for row in own),
            params=sum(row.params for row in own),
            macs=sum(row.macs for row in own),
        )
        for name, own in groups.items()
    ]


def _sums(rows: Sequence[Row]) -> tuple[str, str]:
    return f"{sum(row.params for row in rows):,}", f"{sum(row.macs for row in rows):,}"


def _cells(row: Row) -> tuple[str, ...]:
    kind = f"{row.kind} {row.detail}".rstrip()
    output = "×".join(map(str, row.output))
    params, macs = (f"{number:,}" if number else "" for number in (row.params, row.macs))
    return row.layer, kind, output, params, macs, _field(row), _stride(row)


def _field(row: Row) -> str:
    return "" if row.receptive_field is None else _pair(row.receptive_field.size)


def _stride(row: Row) -> str:
    field = row.receptive_field
    return "" if field is None or not any(field.stride) else _pair(field.stride)


def _pair(values: Sequence[float]) -> str:
    """Returns one number for two equal ones."""
    rows, columns = values
    return f"{rows}" if rows == columns else f"{rows}x{columns}"
