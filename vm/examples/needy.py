"""One test for anywhere, and one that needs a guest."""

from __future__ import annotations

import pytest

from .outcomes import in_guest


def test_anywhere() -> None:
    assert not in_guest()


@pytest.mark.needs("guest", "cgroup-v2")
def test_in_a_guest_alone() -> None:
    assert in_guest()


@pytest.mark.needs("guest")
def test_that_ends_the_guest() -> None:
    from pathlib import Path

    Path("/proc/sysrq-trigger").write_text("c")
