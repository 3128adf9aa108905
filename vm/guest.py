"""pytest's side in the guest: run what was asked for there, and send each report as a line.

Lines go to the standard output that pytest was started with, whatever it captures meanwhile. A line of ours begins
with :data:`plugin.MARK`; everything else on that stream is ordinary output, shown when something goes wrong.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO

import pytest

from vm.plugin import MARK

_outputs: list[IO[str]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    _outputs.append(os.fdopen(os.dup(1), "w"))  # before pytest begins to capture
    parser.addoption("--guest-ids", help="a file of the tests to run, one id a line")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of what was collected, run what the host chose, in the host's order."""
    chosen = Path(config.getoption("--guest-ids")).read_text().splitlines()
    found = {item.nodeid: item for item in items}
    items[:] = [found[id] for id in chosen if id in found]


def pytest_runtest_logstart(nodeid: str) -> None:
    _send({"start": nodeid})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _send({"report": report._to_json()})


def _send(message: dict[str, object]) -> None:
    print(MARK + json.dumps(message), file=_outputs[-1], flush=True)
