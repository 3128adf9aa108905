"""The program for devices does what its rules say: it is run here, by a machine of twenty lines, for every question."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from minicontainerd.errors import InvalidArgument
from minicontainerd.oci.spec import default
from minicontainerd.run.device_rules import _NEVER_REFUSED, USUAL, compile, enforce

BLOCK, CHARACTER = 1, 2
BITS = {"m": 1, "r": 2, "w": 4}


def run(code: bytes, access: int, type: int, major: int, minor: int) -> int:
    """What the program answers."""
    registers = [0] * 10
    context = {0: access << 16 | type, 4: major, 8: minor}
    instructions = list(struct.iter_unpack("<BBhi", code))
    place = 0
    while True:
        operation, both, offset, constant = instructions[place]
        to, source = both & 15, both >> 4
        place += 1
        if operation == 0x61:
            registers[to] = context[offset]
        elif operation == 0xBF:
            registers[to] = registers[source]
        elif operation == 0x57:
            registers[to] &= constant
        elif operation == 0x77:
            registers[to] >>= constant
        elif operation == 0xB7:
            registers[to] = constant
        elif operation == 0x95:
            return registers[0]
        elif (
            operation == 0x05
            or (operation == 0x55 and registers[to] != constant)
            or (operation == 0x45 and registers[to] & constant)
        ):
            place += offset
        else:
            assert operation in (0x55, 0x45), f"unknown instruction {operation:#x}"


def expected(rules: list[dict[str, Any]], access: int, type: int, major: int, minor: int) -> bool:
    """The same in words: each kind of access is decided by the last rule that speaks of it."""

    def speaks(rule: dict[str, Any], kind: str) -> bool:
        return (
            kind in rule.get("access", "rwm")
            and rule.get("type", "a") in ("a", {BLOCK: "b", CHARACTER: "c"}[type])
            and rule.get("major", major) == major
            and rule.get("minor", minor) == minor
        )

    def allowed(kind: str) -> bool:
        deciding = [rule["allow"] for rule in rules if speaks(rule, kind)]
        return bool(deciding and deciding[-1])

    return all(allowed(kind) for kind, bit in BITS.items() if access & bit)


RULE = some.fixed_dictionaries(
    {"allow": some.booleans()},
    optional={
        "type": some.sampled_from(["a", "b", "c"]),
        "major": some.integers(0, 2),
        "minor": some.integers(0, 2),
        "access": some.sampled_from(["r", "w", "m", "rw", "rm", "rwm"]),
    },
)
QUESTION = some.tuples(
    some.integers(1, 7), some.sampled_from([BLOCK, CHARACTER]), some.integers(0, 2), some.integers(0, 2)
)


@given(some.lists(RULE, max_size=8), some.lists(QUESTION, min_size=1, max_size=20))
def test_the_program_answers_as_the_rules_say(
    rules: list[dict[str, Any]], questions: list[tuple[int, int, int, int]]
) -> None:
    code = compile(rules)  # type: ignore[arg-type]
    for question in questions:
        assert run(code, *question) == expected(rules, *question), question


def test_the_usual_rules_are_those_of_a_default_config() -> None:
    assert default("ns", "id")["linux"]["resources"]["devices"] == USUAL


def test_what_every_container_needs_is_never_refused() -> None:
    code = compile([{"allow": False, "access": "rwm"}, *_NEVER_REFUSED])
    assert run(code, BITS["r"] | BITS["w"], CHARACTER, 1, 3)  # /dev/null
    assert run(code, BITS["m"], BLOCK, 8, 0)  # a node alone opens nothing
    assert not run(code, BITS["r"], BLOCK, 8, 0)
    assert not run(code, BITS["r"], CHARACTER, 1, 1)  # /dev/mem


@pytest.mark.parametrize("rule", [{"type": "p"}, {"access": "rwx"}])
def test_a_rule_that_says_nothing_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="device rule"):
        enforce("/nonexistent", [{"allow": True, **rule}])  # type: ignore[typeddict-item]
