"""Where the time of one run goes, by the steps of the explain trace.

Every entry says when it was written (linux/tell.py), so a step lasts from its own entry to the next one by the same
speaker that is not inside it. Its acts know how long they took in the kernel; the rest of a step is Python between
them, and the telling itself.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from conformance.peers import Ctr

ANNOTATION = "org.minicontainerd.explain"


class Step(NamedTuple):
    """A step with its medians over all runs, in milliseconds: as a whole, and in the kernel."""

    by: str
    title: str
    whole: float
    kernel: float


def profile(ctr: Ctr, image: str, rounds: int) -> list[Step]:
    """The steps of ``ctr run --rm`` of a no-op, the longest first."""
    runs: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for number in range(rounds):
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
            ctr("run", "--rm", "--annotation", f"{ANNOTATION}={file.name}", image, f"profile-{number}", "true")
            entries = [json.loads(line) for line in Path(file.name).read_text().splitlines()]
        sums: dict[tuple[str, str], tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        for key, whole, kernel in _steps(entries):
            former = sums[key]
            sums[key] = former[0] + whole, former[1] + kernel
        for key, value in sums.items():
            runs[key].append(value)
    steps = [
        Step(by, title, *(statistics.median(each) / 1000 for each in zip(*values, strict=True)))
        for (by, title), values in runs.items()
    ]
    return sorted(steps, key=lambda step: -step.whole)


def _steps(entries: list[dict[str, Any]]) -> Iterator[tuple[tuple[str, str], float, float]]:
    """The outermost steps of each speaker: who and what, and microseconds."""
    for speaker in {entry["by"] for entry in entries}:
        mine = [entry for entry in entries if entry["by"] == speaker]
        starts = [place for place, entry in enumerate(mine) if "step" in entry and entry["depth"] == 0]
        for start in starts:
            inside = start + 1
            while inside < len(mine) and mine[inside]["depth"] > 0:
                inside += 1
            end = mine[min(inside, len(mine) - 1)]
            until = end["at"] - (end.get("microseconds", 0) if inside < len(mine) else 0)
            kernel = sum(entry.get("microseconds", 0) for entry in mine[start:inside])
            yield (speaker, mine[start]["step"]), max(until - mine[start]["at"], kernel), kernel


def as_text(steps: list[Step], most: int = 16) -> str:
    """A table of the longest steps."""
    lines = [f"{'step':<72} {'ms':>6} {'kernel':>7}"]
    lines += [f"{f'{step.by}: {step.title}'[:72]:<72} {step.whole:>6.2f} {step.kernel:>7.2f}" for step in steps[:most]]
    return "\n".join(lines)
