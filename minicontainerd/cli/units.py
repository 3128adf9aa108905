"""Values with units, as Go's flags take them."""

from __future__ import annotations

import re

import click

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.ParamType[float]):
    """``1h30m``, ``500ms``; a bare 0 needs no unit. The value is in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse it, or fail as click does."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value)
        parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
        if text != "0" and "".join(number + unit for number, unit in parts) != text:
            self.fail(f"{text!r} is no duration such as 1h30m", param, ctx)
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)


DURATION = Duration()
