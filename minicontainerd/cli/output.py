"""How ctr prints: columns, sizes, ages."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence

import click

from minicontainerd.api import timestamp

TAB = 8
"""Where Go's tabwriter puts its stops."""


def table(rows: Iterable[Sequence[str]], *, minimum: int = 1, padding: int = 1, tabs: bool = False) -> None:
    """Print *rows* in columns, as Go's text/tabwriter does: a cell is as wide as the widest above and below it.

    Each cell but the last is followed by at least *padding* spaces, or with *tabs* by tab characters. ctr ends most of
    its rows with a tab, which shows as trailing spaces; give such rows an empty last cell.
    """
    rows = [list(row) for row in rows]
    columns = max((len(row) for row in rows), default=0)
    widths = [
        max((len(row[column]) + padding for row in rows if column < len(row) - 1), default=0)
        for column in range(columns)
    ]
    for row in rows:
        cells = [_cell(text, max(widths[column], minimum), tabs) for column, text in enumerate(row[:-1])]
        click.echo("".join(cells) + row[-1])


def _cell(text: str, width: int, tabs: bool) -> str:
    if not tabs:
        return text.ljust(width)
    stop = math.ceil(width / TAB) * TAB
    return text + "\t" * math.ceil((stop - len(text)) / TAB)


def labels(found: Mapping[str, str]) -> str:
    """Labels in one cell, sorted; ``-`` for none.

    >>> labels({"b": "2", "a": "1"}), labels({})
    ('a=1,b=2', '-')
    """
    return ",".join(f"{key}={value}" for key, value in sorted(found.items())) or "-"


def parse_labels(arguments: Iterable[str]) -> dict[str, str]:
    """``key=value`` arguments; a bare ``key`` stands for ``key=true``, as with ctr.

    >>> parse_labels(["a=1=2", "b"])
    {'a': '1=2', 'b': 'true'}
    """
    split = (argument.partition("=") for argument in arguments)
    return {key: value if equals else "true" for key, equals, value in split}


def size(count: int) -> str:
    """A number of bytes in units of 1024, one digit behind the point where it is not zero.

    >>> [size(count) for count in (0, 1023, 1024, 1536, 1 << 30)]
    ['0.0 B', '1023.0 B', '1.0 KiB', '1.5 KiB', '1.0 GiB']
    """
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]}"


def size_si(count: int) -> str:
    """A number of bytes in units of 1000, four digits, as ``ctr content ls`` has it.

    >>> [size_si(count) for count in (6, 1510, 28_000_000)]
    ['6B', '1.51kB', '28MB']
    """
    value, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.4g}{units[0]}"


def age(nanoseconds: int) -> str:
    """How long something takes or is ago, in words.

    >>> [age(seconds * 10**9) for seconds in (0, 1, 45, 60, 3000, 3600, 86400 * 3)]
    ['Less than a second', '1 second', '45 seconds', 'About a minute', '50 minutes', 'About an hour', '3 days']
    """
    seconds = nanoseconds // 10**9
    minutes, hours = seconds // 60, round(seconds / 3600)
    steps = (
        (seconds < 1, "Less than a second"),
        (seconds == 1, "1 second"),
        (seconds < 60, f"{seconds} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 14, f"{hours // 24} days"),
        (hours < 24 * 60, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    return next((words for applies, words in steps if applies), f"{hours // 24 // 365} years")


def since(nanoseconds: int) -> str:
    """How long ago a time (nanoseconds since 1970) is, in words."""
    return age(max(0, timestamp.now() - nanoseconds))


def warn(message: str, level: str = "warning", **fields: object) -> None:
    """A line on standard error that does not end the command, in the form of ctr's log."""
    now = timestamp.rfc3339(timestamp.now() // 10**9 * 10**9)
    words = "".join(f" {key}={json.dumps(str(value))}" for key, value in fields.items())
    print(f'time="{now}" level={level} msg={json.dumps(message)}{words}', file=sys.stderr)
