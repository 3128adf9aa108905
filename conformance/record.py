"""``--record FILE``: what a run of the suite found, so that runs on several targets can be put side by side.

The file has a row for each test: its id, the clauses it names, against which target and on what kind of host it ran,
and what came of it::

    passed     it holds
    deviates   the target does otherwise, as deviations.toml says with a reason
    failed     the target does otherwise, and nobody has said so
    skipped    it was not asked, with the reason

Read next: report.py, which puts such files together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.clause_list import named_by
from vm.needs import reason_against
from vm.plugin import MISSING

WORST_FIRST = ("failed", "deviates", "skipped", "passed")

Row = dict[str, Any]


class Recorder:
    """A plugin that lives as long as the run. *file* is whole after each test, for a run may be ended early."""

    def __init__(self, config: pytest.Config, file: Path) -> None:
        self.config = config
        self.file = file
        self.rows: dict[str, Row] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """A row for each test that is going to run."""
        for item in session.items:
            self.rows[item.nodeid] = {
                "test": item.nodeid,
                "clauses": named_by(item),
                "target": target_of(item),
                "host": host_of(item),
                "outcome": "skipped",
                "reason": "the run ended before it",
            }
        self.write()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Setup, the test itself, teardown: the worst of the three counts."""
        row = self.rows[report.nodeid]
        outcome, reason = judged(report)
        first = report.when == "setup"
        if first or WORST_FIRST.index(outcome) < WORST_FIRST.index(row["outcome"]):
            row["outcome"], row["reason"] = outcome, reason

        if report.when == "teardown":
            self.write()

    def pytest_sessionfinish(self) -> None:
        """A guest that died has left tests without a teardown."""
        self.write()

    def write(self) -> None:
        """Write what is known so far, in one step."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(list(self.rows.values()), indent=1) + "\n")
        new.replace(self.file)


def judged(report: pytest.TestReport) -> tuple[str, str]:
    """One of the four words, and why."""
    if report.skipped and hasattr(report, "wasxfail"):  # one that happens only sometimes may also have passed
        return "deviates", str(report.wasxfail)
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        return ("deviates" if reason.startswith("not run: ") else "skipped"), reason
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        return "failed", " ".join(str(crash.message if crash else report.longrepr).split())[:300]
    return "passed", ""


def target_of(item: pytest.Item) -> str:
    """What a test's seam is tested against, in a word or two."""
    option = item.config.option
    seam = item.path.parent.name
    if seam == "runtime":
        return Path(str(option.runtime)).name
    if seam == "daemon":
        return f"{option.target} by {option.client}"
    if seam == "cni":
        return "ours" if option.cni_plugins == "minicontainerd" else str(option.cni_plugins)
    return seam


def host_of(item: pytest.Item) -> str:
    """How the cgroups are laid out where a test runs: ``hybrid`` or ``unified``, and whether that is a guest."""
    if item.config.option.in_vm or item.stash.get(MISSING, ""):
        return "unified guest"
    return "hybrid" if reason_against("cgroup-v2") else "unified"
