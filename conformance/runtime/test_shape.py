"""A config.json whose values are of another kind than the specification's, or are not there.

What is of another kind is refused: a runtime that took ``"false"`` for true, or walked a text letter by letter, would
start another container than the one that was asked for. ``null`` is what encoders write for what is not there.
"""

from __future__ import annotations

from typing import Any

import pytest

from .harness import Container, Failure, expect_gone

OTHERWISE: dict[str, list[Any]] = {
    "hostname": [5],
    "root.readonly": [0, "false"],
    "process.args": ["true", {"0": "true"}],
    "process.env": [{"PATH": "/bin"}, [1]],
    "process.noNewPrivileges": ["false", 1],
    "process.user": [0, []],
    "process.user.uid": ["0", -1, 1 << 32, 1.5, True],
    "process.user.additionalGids": [5, [-1]],
    "process.capabilities.bounding": ["CAP_KILL"],
    "process.rlimits": [{}, [{"type": "RLIMIT_CORE", "hard": -1, "soft": 0}]],
    "process.oomScoreAdj": ["10"],
    "mounts": [{}, ["/proc"]],
    "mounts.0.options": ["ro", [1]],
    "hooks": [[]],
    "hooks.poststop": [{}, ["/bin/true"]],
    "annotations": [[], {"key": 1}],
    "linux": ["", []],
    "linux.namespaces": ["pid", ["pid"]],
    "linux.maskedPaths": ["/proc/keys"],
    "linux.sysctl": [{"net.ipv4.ip_forward": 1}],
    "linux.resources": [[]],
    "linux.resources.pids.limit": ["10", 1 << 63],
    "linux.resources.devices": [{}],
}
NOTHING = (
    "hostname root.readonly process.user process.capabilities process.capabilities.ambient process.rlimits "
    "process.noNewPrivileges process.oomScoreAdj mounts.0.options mounts.0.source hooks hooks.poststop annotations "
    "linux.resources linux.resources.devices linux.maskedPaths linux.seccomp linux.sysctl linux.uidMappings"
)


def put(container: Container, place: str, value: Any) -> Container:
    """Give what *place* names, keys and numbers with dots between them, the *value*."""
    *above, last = place.split(".")
    found: Any = container.config
    for key in above:
        found = found[int(key)] if isinstance(found, list) else found.setdefault(key, {})
    found[int(last) if isinstance(found, list) else last] = value
    return container


@pytest.mark.clause("config.values.invalid-errors")
@pytest.mark.parametrize(
    ("place", "value"), [(place, value) for place, values in OTHERWISE.items() for value in values], ids=str
)
def test_a_value_of_another_kind_is_refused(container: Container, place: str, value: Any) -> None:
    with pytest.raises(Failure):
        put(container, place, value).create()
    expect_gone(container)


@pytest.mark.clause("runtime.create.applies-config")
@pytest.mark.parametrize("place", NOTHING.split())
def test_null_is_as_if_it_was_not_there(container: Container, place: str) -> None:
    assert put(container, place, None).args("echo", "here").run() == "here\n"
