"""``python -m conformance.summary FOLDER``: many runs of pytest, on whatever targets and hosts, as one list.

Each run leaves a JUnit file in *FOLDER* (``--junitxml``). Every skip and every deviation is told with its reason.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from vm.compare import OUTCOMES, Results, read


def summary(runs: dict[str, Results]) -> str:
    """A line for each run by its name, and the reasons of what did not simply pass."""
    lines = [_line("", OUTCOMES)]
    total: Counter[str] = Counter()
    reasons: Counter[tuple[str, str, str]] = Counter()
    for name, results in runs.items():
        counts = Counter(result.outcome for result in results.values())
        total += counts
        lines.append(_line(name, [counts[word] for word in OUTCOMES]))
        reasons.update((each.outcome, name, each.reason) for each in results.values() if each.outcome != "passed")
    lines += [_line(f"all of {len(runs)}", [total[word] for word in OUTCOMES]), ""]
    for (outcome, name, reason), number in sorted(reasons.items()):
        lines.append(f"{outcome}, {name}: {number} test{'s' if number > 1 else ''}: {reason}")
    return "\n".join(lines)


def _line(name: str, cells: Iterable[object]) -> str:
    return f"{name:24}" + "".join(f"{cell!s:>9}" for cell in cells)


def main() -> None:
    """Print the summary of the runs in a folder, in the order in which they ended; 1 if anything failed."""
    files = sorted(Path(sys.argv[1]).glob("*.xml"), key=lambda file: file.stat().st_mtime)
    runs = {file.stem: read([file]) for file in files}
    print(summary(runs))
    bad = any(result.outcome in ("failed", "error") for results in runs.values() for result in results.values())
    sys.exit(bad or not runs)


if __name__ == "__main__":
    main()
