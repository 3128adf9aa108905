"""What the test of power cuts holds against a store."""

from __future__ import annotations

from conformance.power.promises import broken_promises


def test_what_was_acknowledged_must_be_there_and_what_was_removed_must_not() -> None:
    lines = ["begin image a", "is image a", "begin image c", "gone image c"]
    assert broken_promises(lines, {"image a"}) == []
    assert broken_promises(lines, {"image c"}) == ["acknowledged and lost: image a", "removed and back: image c"]


def test_what_was_begun_last_may_be_either_way() -> None:
    lines = ["is image a", "begin image a"]
    assert broken_promises(lines, set()) == broken_promises(lines, {"image a"}) == []
