"""Any, field masks, headers, times: the small formats, each as containerd has them."""

import pytest
from google.protobuf.any_pb2 import Any
from hypothesis import given
from hypothesis import strategies as st

from minicontainerd.api import any as typeurl
from minicontainerd.api import fieldmask, headers, timestamp
from minicontainerd.api.events.task_pb2 import TaskExit
from minicontainerd.errors import FailedPrecondition, InvalidArgument


def test_a_message_is_packed_under_its_bare_name() -> None:
    packed = typeurl.pack(TaskExit(container_id="c", exit_status=7))
    assert packed.type_url == "containerd.events.TaskExit"
    assert typeurl.unpack(packed, TaskExit).exit_status == 7
    assert typeurl.unpack_known(packed) == TaskExit(container_id="c", exit_status=7)


def test_a_foreign_prefix_is_understood() -> None:
    packed = Any(type_url="type.googleapis.com/containerd.events.TaskExit")
    assert typeurl.unpack(packed, TaskExit) == TaskExit()


def test_the_wrong_type_and_broken_bytes_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="expected a value of type"):
        typeurl.unpack(Any(type_url="a.B"), TaskExit)
    with pytest.raises(InvalidArgument, match="does not parse"):
        typeurl.unpack(Any(type_url="containerd.events.TaskExit", value=b"\xff"), TaskExit)
    with pytest.raises(InvalidArgument, match="is not JSON"):
        typeurl.unpack_json(Any(type_url=typeurl.SPEC, value=b"{"))
    assert typeurl.unpack_known(Any(type_url="nobody.knows.This")) is None


def test_a_spec_is_json() -> None:
    packed = typeurl.pack_json(typeurl.SPEC, {"ociVersion": "1.2.0"})
    assert typeurl.is_json(packed) and typeurl.type_name(packed) == typeurl.SPEC
    assert typeurl.unpack_json(packed) == {"ociVersion": "1.2.0"}


def test_a_mask_divides_at_the_first_dot_only() -> None:
    fieldmask.check(["labels.containerd.io/gc.ref.content.0", "target"], {"labels", "target"}, {"labels"}, "image")
    for path in ("size", "target.size", "labels.", ""):
        with pytest.raises(InvalidArgument, match="cannot update"):
            fieldmask.check([path], {"target"}, {"labels"}, "image")


LABELS = st.dictionaries(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8), max_size=5)


@given(LABELS, LABELS)
def test_a_mask_of_keys_touches_only_those(old: dict[str, str], new: dict[str, str]) -> None:
    merged = fieldmask.merge(old, new, [f"labels.{key}" for key in new] or ["other.x"], "labels")
    assert merged == {**old, **new}


@pytest.mark.parametrize("name", ["a", "a-b.c_d", "A" * 76, "0"])
def test_identifiers(name: str) -> None:
    assert headers.identifier(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a--b", "a/b", "..", "a\n", "A" * 77, "ä"])
def test_no_identifiers(name: str) -> None:
    with pytest.raises(InvalidArgument):
        headers.identifier(name)


def test_the_namespace_is_required() -> None:
    with pytest.raises(FailedPrecondition, match="namespace is required"):
        headers.namespace({})
    assert headers.namespace({headers.NAMESPACE: "default"}) == "default"


def test_a_label_has_a_limit() -> None:
    headers.labels({"k": "v" * 4095})
    with pytest.raises(InvalidArgument, match="greater than maximum size"):
        headers.labels({"k": "v" * 4096})


@given(st.integers(timestamp.ZERO, 253402300799 * 10**9))
def test_times_survive_the_wire(moment: int) -> None:
    assert timestamp.from_wire(timestamp.to_wire(moment)) == moment


@given(st.integers(0, 253402300799 * 10**9))
def test_times_survive_as_text(moment: int) -> None:
    assert timestamp.parse_rfc3339(timestamp.rfc3339(moment)) == moment
