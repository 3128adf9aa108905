"""The results as a table in Markdown, and as a picture that needs no library: bars of ratios, in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .series import Row

_BAR, _GAP, _LEFT, _UNIT = 18, 10, 210, 300  # pixels; _UNIT is how long the ratio 1 is
_GOOD, _BAD, _PLAIN = "#2e7d32", "#c62828", "#546e7a"


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = ["| | the real one | ours | ratio | wanted | |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    for row in rows:
        theirs, ours = (f"{value:,.{0 if value >= 100 else 1}f} {row.unit}" for value in row.medians)
        wanted = f"≤ {row.target}" if row.target is not None else f"≤ {row.limit:g} {row.unit}" if row.limit else ""
        verdict = "" if not wanted else "yes" if row.holds else "**no**"
        lines.append(f"| {row.name} | {theirs} | {ours} | {row.ratio:.2f} | {wanted} | {verdict} |")
    return "\n".join(lines)


def picture(rows: Sequence[Row]) -> str:
    """A bar a row, as long as its ratio; the line is where both are equal, a tick where we want to be."""
    height = len(rows) * (_BAR + _GAP) + 40
    longest = max(1.1, *(row.ratio for row in rows))
    width = _LEFT + int(longest * _UNIT) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><title>minicontainerd by containerd: shorter is better</title>'
    ]
    for number, row in enumerate(rows):
        top = number * (_BAR + _GAP) + 10
        has_goal = row.target is not None or row.limit is not None
        colour = (_GOOD if row.holds else _BAD) if has_goal else _PLAIN
        length = row.ratio * _UNIT
        parts += [
            f'<text x="{_LEFT - 8}" y="{top + 13}" text-anchor="end">{escape(row.name)}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{length:.0f}" height="{_BAR}" fill="{colour}"/>',
            f'<text x="{_LEFT + length + 6:.0f}" y="{top + 13}">{row.ratio:.2f}</text>',
        ]
        if row.target is not None:
            x = _LEFT + row.target * _UNIT
            parts.append(f'<path d="M{x:.0f} {top - 3}v{_BAR + 6}" stroke="black" stroke-width="2"/>')
    bottom = len(rows) * (_BAR + _GAP) + 10
    parts += [
        f'<path d="M{_LEFT + _UNIT} 4V{bottom}" stroke="black" stroke-dasharray="3 3"/>',
        f'<text x="{_LEFT + _UNIT}" y="{bottom + 14}" text-anchor="middle">as containerd</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
