"""The suite asked of the real software and of ours, each in a guest from one saved state; and a table of both.

::

    pytest --in-vm conformance/runtime --runtime=runc      ─▶ runtime-real.xml ─┐
    pytest --in-vm conformance/runtime --runtime=minirunc  ─▶ runtime-ours.xml ─┴▶ side-by-side.md

The results are pytest's own JUnit files, so that other tools can read them too. In the table, what both do alike is
folded away; what differs stands with its reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vm.recipe import ROOT

SIDES = {"real": "containerd + runc", "ours": "minicontainerd + minirunc"}
SEAMS = {
    "runtime": {
        "real": ["conformance/runtime", "--runtime=runc"],
        "ours": ["conformance/runtime", "--runtime=minirunc"],
    },
    "daemon": {
        side: ["conformance/daemon", f"--target={target}", "-k", "not side_by_side and not joints"]
        for side, target in (("real", "containerd"), ("ours", "minicontainerd"))
    },
}
"""For each seam, pytest's arguments for each side. What itself compares two daemons, or swaps parts, is left out."""


OUTCOMES = ("passed", "deviates", "failed", "error", "skipped")


@dataclass(frozen=True)
class Result:
    """How one test ended: a word, the reason if there is one, and how long it took, in seconds of the host."""

    outcome: str
    reason: str
    seconds: float


Results = dict[str, Result]


def run(seam: str, side: str, folder: Path) -> int:
    """Ask *side* in a guest; its results are in *folder* afterwards. Answers pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "--in-vm", "-p", "no:cacheprovider", *SEAMS[seam][side]]
    part = folder / f"{seam}-{side}.part"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run([*command, f"--junitxml={part.absolute()}"], cwd=ROOT, env=environment)
    if done.returncode in (0, 1):  # all passed, or some did not; otherwise it did not run
        part.rename(path(seam, side, folder))
    return done.returncode


def path(seam: str, side: str, folder: Path) -> Path:
    """Where the results of one side are kept."""
    return folder / f"{seam}-{side}.xml"


def files(seam: str, side: str, folder: Path) -> list[Path]:
    """All results of one side: a run that was made in parts, by hand, may have left ``runtime-ours-hooks.xml`` too."""
    return sorted(folder.glob(f"{seam}-{side}*.xml"))


def read(paths: Iterable[Path]) -> Results:
    """The results in JUnit files, by test."""
    found: Results = {}
    for case in (case for path in paths for case in ElementTree.parse(path).getroot().iter("testcase")):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        outcome, reason = "passed", ""
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                outcome, reason = _word(child), " ".join((child.get("message") or "").split())[:200]
        found[name] = Result(outcome, reason, float(case.get("time", 0)))
    return found


def _word(child: ElementTree.Element) -> str:
    if child.tag == "skipped":
        return "deviates" if child.get("type") == "pytest.xfail" else "skipped"
    return {"failure": "failed", "error": "error"}[child.tag]


def table(seam: str, real: Results, ours: Results) -> str:
    """Both sides of one seam, in Markdown.

    >>> passed = Result("passed", "", 1.0)
    >>> print(table("runtime", {"a": passed, "b": passed}, {"a": passed, "b": Result("failed", "no", 2.0)}))
    ## runtime
    <BLANKLINE>
    | | containerd + runc | minicontainerd + minirunc |
    | --- | --- | --- |
    | passed | 2 | 1 |
    | failed | 0 | 1 |
    | seconds | 2 | 3 |
    | `b` | passed | failed: no |
    <BLANKLINE>
    <details><summary>1 tests end alike</summary>
    <BLANKLINE>
    - `a`: passed
    <BLANKLINE>
    </details>
    """
    lines = [f"## {seam}", "", f"| | {' | '.join(SIDES.values())} |", "| --- | --- | --- |"]
    counts = [Counter(result.outcome for result in side.values()) for side in (real, ours)]
    words = [word for word in OUTCOMES if any(count[word] for count in counts)]
    lines += [f"| {word} | {counts[0][word]} | {counts[1][word]} |" for word in words]
    sums = [sum(result.seconds for result in side.values()) for side in (real, ours)]
    lines.append(f"| seconds | {sums[0]:.0f} | {sums[1]:.0f} |")
    alike = []
    for name in sorted(real.keys() | ours.keys()):
        one, other = (side.get(name, Result("not there", "", 0)) for side in (real, ours))
        if one.outcome == other.outcome:
            alike.append(f"- `{name}`: {one.outcome}")
        else:
            lines.append(f"| `{name}` | {_cell(one)} | {_cell(other)} |")
    return "\n".join(
        [*lines, "", f"<details><summary>{len(alike)} tests end alike</summary>", "", *alike, "", "</details>"]
    )


def _cell(result: Result) -> str:
    reason = result.reason.replace("|", "\\|")
    return f"{result.outcome}: {reason}" if reason else result.outcome


def write(seams: Iterable[str], folder: Path) -> Path:
    """The table of all seams whose results are in *folder*; answers its path."""
    parts = ["# Side by side", "", "Each side in a guest of its own, restored from the same saved state."]
    for seam in seams:
        real, ours = (files(seam, side, folder) for side in SIDES)
        if real and ours:
            parts += ["", table(seam, read(real), read(ours))]
    target = folder / "side-by-side.md"
    target.write_text("\n".join(parts) + "\n")
    return target
