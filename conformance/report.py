"""Runs put side by side, clause by clause: ``python -m conformance.report RUN.json ... [--html PAGE]``.

Each run was kept by ``pytest --record``. A column is a target on a kind of host, a row a clause::

    runtime.kill.sends-signal   MUST   holds   holds   differs   lifecycle: kill sends the signal however ...

    holds     every test of the clause passed
    differs   a test found otherwise, which deviations.toml tells with a reason
    fails     a test found otherwise, and nobody has said why
    skipped   none of its tests was run there
    -         no test of it was in that run

Nothing is hidden: what differs is told again at the end, test by test, with the reasons. The status is 1 if anything
fails. Files of clauses of which the runs name none are left out. Read next: page.py, the same as a page.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.clause_list import CLAUSES, Clauses, has_to, read_clauses

Column = tuple[str, str]
"""A target, and the kind of host that it ran on."""

STATES = {"failed": "fails", "deviates": "differs", "passed": "holds", "skipped": "skipped"}


@dataclass
class Results:
    """What the runs found: for each test its clauses, and for each column its outcome with the reason."""

    columns: list[Column] = field(default_factory=list)
    clauses: dict[str, list[str]] = field(default_factory=dict)
    found: dict[str, dict[Column, tuple[str, str]]] = field(default_factory=dict)

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """The rows of one run; of two runs of one test on one target, the later counts, unless it was skipped."""
        for row in rows:
            column = (row["target"], row["host"])
            if column not in self.columns:
                self.columns.append(column)
            here = self.found.setdefault(row["test"], {})
            self.clauses[row["test"]] = row["clauses"]
            if column not in here or row["outcome"] != "skipped":
                here[column] = (STATES[row["outcome"]], row["reason"])

    def tests(self, clause: str) -> list[str]:
        """The tests that name *clause*."""
        return [test for test, clauses in self.clauses.items() if clause in clauses]

    def state(self, clause: str, column: Column) -> str:
        """What became of *clause* in *column*; the worst of its tests decides."""
        states = {self.found[test][column][0] for test in self.tests(clause) if column in self.found[test]}
        return next((state for state in STATES.values() if state in states), "-")

    def differing(self) -> list[str]:
        """The tests that did not pass somewhere where they were run."""
        return [
            test for test, here in self.found.items() if {state for state, _ in here.values()} & {"fails", "differs"}
        ]


def read_runs(files: Iterable[Path]) -> Results:
    """The runs of *files*, in their order."""
    results = Results()
    for file in files:
        results.add(json.loads(file.read_text()))
    return results


def parts(results: Results) -> dict[str, Clauses]:
    """The files of clauses that the runs are about, by their names."""
    named = {id for clauses in results.clauses.values() for id in clauses}
    every = {file.stem: read_clauses(file) for file in sorted(CLAUSES.glob("*.toml"))}
    return {name: clauses for name, clauses in every.items() if named & clauses.keys()}


@dataclass(frozen=True)
class Coverage:
    """How many of the sentences that bind a target are checked."""

    mandatory: int
    checked: int
    excused: int
    literal: int
    literal_checked: int

    def __str__(self) -> str:
        share = 100 * self.checked / max(self.mandatory, 1)
        literal = 100 * self.literal_checked / max(self.literal, 1)
        left = self.mandatory - self.checked - self.excused
        return (
            f"{self.checked} of {self.mandatory} mandatory sentences are checked ({share:.0f} %; of the {self.literal} "
            f"that say must themselves {literal:.0f} %), {self.excused} are not, for a reason, and {left} without one"
        )


def coverage(clauses: Clauses, named: set[str]) -> Coverage:
    """Of those *clauses* that are mandatory and bind the target, how many are *named* by a test."""
    mandatory = has_to(clauses)
    checked = mandatory.keys() & named
    literal = {id for id, clause in mandatory.items() if not clause.get("through")}
    excused = [id for id, clause in mandatory.items() if clause.get("reason") and id not in named]
    return Coverage(len(mandatory), len(checked), len(excused), len(literal), len(literal & checked))


def short(test: str) -> str:
    """A test's name as a sentence: ``lifecycle: kill sends it [TERM]``."""
    file, _, function = test.partition("::")
    name, bracket, parameters = function.partition("[")
    words = name.removeprefix("test_").replace("_", " ")
    return f"{Path(file).stem.removeprefix('test_')}: {words}" + (f" [{parameters}" if bracket else "")


def grouped(tests: Iterable[str]) -> list[str]:
    """Tests without their parameters, each once, as sentences."""
    return list(dict.fromkeys(short(test.partition("[")[0]) for test in tests))


def as_text(results: Results) -> Iterable[str]:
    """The whole table, and what differs, line by line."""
    width = max((len(" ".join(column)) for column in results.columns), default=8)
    for name, clauses in parts(results).items():
        heads = "  ".join(" ".join(column).ljust(width) for column in results.columns)
        yield f"\n{name + '.toml':46}  {'':10}  {heads}"
        for id, clause in clauses.items():
            states = "  ".join(results.state(id, column).ljust(width) for column in results.columns)
            tests = "; ".join(grouped(results.tests(id))) or clause.get("reason") or _nobody(clause)
            yield f"{id:46}  {clause['level']:10}  {states}  {tests}"
    named = {id for ids in results.clauses.values() for id in ids}
    yield ""
    for name, clauses in parts(results).items():
        if has_to(clauses):
            yield f"{name + '.toml:':32} {coverage(clauses, named)}"
    yield from _differences(results)


def _nobody(clause: dict[str, Any]) -> str:
    who = clause.get("binds", "runtime")
    return "no test" if who == "runtime" else f"binds: {who}"


def _differences(results: Results) -> Iterable[str]:
    yield f"\n{len(results.differing())} of {len(results.found)} tests did not pass everywhere:"
    for test in results.differing():
        yield f"{short(test)}  ({', '.join(results.clauses[test])})"
        for column, (state, reason) in results.found[test].items():
            yield f"    {' '.join(column).ljust(24)} {state:8} {reason}".rstrip()
    yield ""
    for column in results.columns:
        states = [here[column][0] for here in results.found.values() if column in here]
        counts = ", ".join(f"{states.count(state)} {word}" for word, state in STATES.items() if state in states)
        yield f"{' '.join(column)}: {len(states)} tests, {counts}"


def main(words: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m conformance.report", description="Put runs side by side.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN.json", help="what pytest --record kept")
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write a page as well")
    given = parser.parse_args(words)
    results = read_runs(given.runs)
    for line in as_text(results):
        print(line)
    if given.html:
        from conformance import page

        given.html.parent.mkdir(parents=True, exist_ok=True)
        given.html.write_text(page.as_html(results))
        print(f"\n{given.html}")
    return int(any(state == "fails" for here in results.found.values() for state, _ in here.values()))


if __name__ == "__main__":
    sys.exit(main())
