"""The instructions before a filter, carried out step by step."""

from __future__ import annotations

import errno
import struct

import pytest

from minicontainerd.linux.unknown_calls import X32, stub

X86_64, X86, ARM = 0xC000003E, 0x40000003, 0x40000028
BIT = 1 << 30


def end_of(code: bytes, architecture: int, number: int) -> int | str:
    """What becomes of a call: the errno it gets, or on to the filter, which begins where the instructions end."""
    steps = list(struct.iter_unpack("=HBBI", code))
    place = loaded = 0
    while place < len(steps):
        operation, yes, no, constant = steps[place]
        place += 1
        if operation == 0x20:
            loaded = {0: number, 4: architecture}[constant]
        elif operation == 0x05:
            place += constant
        elif operation == 0x06:
            assert constant >> 16 == 5
            return int(constant) & 0xFFFF
        else:
            holds = {0x15: loaded == constant, 0x25: loaded > constant, 0x35: loaded >= constant}[operation]
            place += yes if holds else no
    assert place == len(steps), "it leads into the middle of the filter"
    return "filter"


@pytest.mark.parametrize("order", [(X86_64, X86, X32), (X86, X32, X86_64), (X32, X86_64, X86)])
def test_only_what_is_above_the_highest_is_not_there(order: tuple[int, ...]) -> None:
    highest = {X86_64: 450, X86: 460, X32: BIT + 547}
    code = stub({each: highest[each] for each in order})
    for architecture, number in ((X86_64, 450), (X86, 460), (X86_64, BIT + 547), (X86_64, 0), (X86, 0)):
        assert end_of(code, architecture, number) == "filter"
        assert end_of(code, architecture, number + 1) == ("filter" if number == 0 else errno.ENOSYS)
    assert end_of(code, ARM, 9999) == "filter"


def test_x32_is_the_filters_where_it_is_not_listed() -> None:
    code = stub({X86_64: 450, X86: 460})
    assert end_of(code, X86_64, BIT + 9999) == "filter"
    assert end_of(code, X86_64, 451) == errno.ENOSYS


def test_nothing_known_is_nothing_said() -> None:
    assert stub({}) == b""
