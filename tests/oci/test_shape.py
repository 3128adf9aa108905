"""A document against the types: that every annotation is understood, and what comes of a strange document."""

from __future__ import annotations

import json

import pytest

from minicontainerd.errors import InvalidArgument
from minicontainerd.oci import runtime, shape

TYPES = [name for name, value in vars(runtime).items() if hasattr(value, "__total__") and name != "State"]
"""All that is read; a state is written here, and read by others."""


@pytest.mark.parametrize("kind", TYPES)
def test_each_annotation_is_one_that_the_check_understands(kind: str) -> None:
    """Given what no field can be, each is refused in words, and not by an exception of Python's."""
    fields, _ = shape._fields(kind)
    for field in fields:
        with pytest.raises(InvalidArgument, match=f"^{field}: .* is wanted, not 0.5"):
            shape.read(json.dumps({field: 0.5}), kind)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "Expecting value"),
        ("[]", "the document: an object is wanted, not \\[\\]"),
        ("[" * 100_000, "nested too deeply"),
        (b"\xff\xfe\xfd", "can't decode"),
        ('{"process": {"args": ["sh", null]}}', "process.args\\[1\\]: a string is wanted, not null"),
        ('{"mounts": [{"type": "tmpfs"}]}', "mounts\\[0\\].destination is missing"),
        ('{"linux": {"sysctl": {"a.b": 1}}}', "linux.sysctl.a.b: a string is wanted, not 1"),
        ('{"linux": {"uidMappings": [{"hostID": 1, "size": 2}]}}', "linux.uidMappings\\[0\\].containerID is missing"),
        ('{"linux": {"resources": {"pids": {"limit": 9223372036854775808}}}}', "pids.limit: .* is not within"),
        (r'{"process": {"args": ["a\ud800"]}}', "process.args\\[0\\]: 'a.ud800' is no text"),
        (r'{"annotations": {"\ud800": "v"}}', "annotations: '.ud800' is no text"),
        ('{"process": {"terminal": 1}}', "process.terminal: true or false is wanted, not 1"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str | bytes, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        shape.read(text, "Spec")


def test_what_is_not_known_is_nobodys_business() -> None:
    known = {"hostname": "h", "vm": {"path": 5}}
    assert shape.read(json.dumps({**known, "linux": None}), "Spec") == known
