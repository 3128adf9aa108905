"""One of each outcome; those with needs ask for what only a guest has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture
def broken() -> None:
    raise OSError("the fixture is broken")


def in_guest() -> bool:
    """Is this the guest?"""
    return Path("/etc/minicontainerd-guest").exists()


def test_passes() -> None:
    assert in_guest()


def test_fails() -> None:
    print("said before it failed")
    assert not in_guest(), "seen in the guest"


@pytest.mark.skip(reason="skipped there")
def test_is_skipped() -> None: ...


@pytest.mark.xfail(reason="known there", strict=True)
def test_is_expected_to_fail() -> None:
    raise AssertionError


def test_has_a_broken_fixture(broken: None) -> None: ...


@pytest.mark.parametrize("word", ["plain", "with space", "with::colons", "ünïcode"])
def test_with(word: str) -> None:
    print(word, file=sys.stderr)
