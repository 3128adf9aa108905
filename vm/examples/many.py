"""Two hundred tests: their ids alone are longer than a command for ssh may be."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("number", range(200))
def test_of_many_that_has_a_rather_long_name_to_make_the_list_of_ids_long_as_well(number: int) -> None:
    assert number < 200
