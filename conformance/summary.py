"""``python -m conformance.summary FOLDER``: many runs of pytest, on whatever targets and hosts, as one list.

Each run leaves a JUnit file in *FOLDER* (``--junitxml``). Every skip and every deviation is told with its reason.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

OUTCOMES = ("passed", "deviates", "failed", "error", "skipped")


class Result(NamedTuple):
    """How one test ended: one of the words above, and the reason if there is one."""

    outcome: str
    reason: str


Results = list[Result]


def read(file: Path) -> Results:
    """The results in a JUnit file."""
    return [_result(case) for case in ElementTree.parse(file).getroot().iter("testcase")]


def _result(case: ElementTree.Element) -> Result:
    for child in case:
        if child.tag in ("failure", "error", "skipped"):
            deviates = child.get("type") == "pytest.xfail"
            word = {"failure": "failed", "error": "error", "skipped": "deviates" if deviates else "skipped"}[child.tag]
            return Result(word, " ".join((child.get("message") or "").split())[:200])
    return Result("passed", "")


def summary(runs: dict[str, Results]) -> str:
    """A line for each run by its name, and the reasons of what did not simply pass."""
    lines = [_line("", OUTCOMES)]
    total: Counter[str] = Counter()
    reasons: Counter[tuple[str, str, str]] = Counter()
    for name, results in runs.items():
        counts = Counter(result.outcome for result in results)
        total += counts
        lines.append(_line(name, [counts[word] for word in OUTCOMES]))
        reasons.update((each.outcome, name, each.reason) for each in results if each.outcome != "passed")
    lines += [_line(f"all of {len(runs)}", [total[word] for word in OUTCOMES]), ""]
    for (outcome, name, reason), number in sorted(reasons.items()):
        lines.append(f"{outcome}, {name}: {number} test{'s' if number > 1 else ''}: {reason}")
    return "\n".join(lines)


def _line(name: str, cells: Iterable[object]) -> str:
    return f"{name:24}" + "".join(f"{cell!s:>9}" for cell in cells)


def main() -> None:
    """Print the summary of the runs in a folder, in the order in which they ended; 1 if anything failed."""
    files = sorted(Path(sys.argv[1]).glob("*.xml"), key=lambda file: file.stat().st_mtime)
    runs = {file.stem: read(file) for file in files}
    print(summary(runs))
    bad = any(result.outcome in ("failed", "error") for results in runs.values() for result in results)
    sys.exit(bad or not runs)


if __name__ == "__main__":
    main()
