"""Known ways out of a container, and that none of them works."""

from __future__ import annotations

import pytest

from .attacks import ATTACKS
from .harness import Container


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.clause(f"attacks.{name}")) for name in ATTACKS])
def test_it_comes_away_with_nothing(container: Container, name: str) -> None:
    assert ATTACKS[name](container) == ""
