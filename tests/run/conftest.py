"""A shim with its daemon, in both generations of the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run.shim.daemon import Daemon


@pytest.fixture(params=["v2", "v3"])
def daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, request.param)
    yield daemon
    daemon.close()
