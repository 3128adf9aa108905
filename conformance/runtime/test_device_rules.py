"""Which devices a container may use: refused by the kernel, whatever the node's mode says."""

from __future__ import annotations

import pytest

from .harness import Container

pytestmark = pytest.mark.needs("root")

CONTROL = {"type": "c", "major": 10, "minor": 237}
LOOP = {"type": "b", "major": 7, "minor": 0}
"""Two devices that anyone may open who has their node; runtimes allow the harmless ones of /dev by themselves."""


def opened(container: Container, *rules: dict[str, object]) -> list[str]:
    """Which of the two a container can open for reading and for writing, and what it is told about the others."""
    container.linux["devices"] = [{"path": "/dev/control", **CONTROL}, {"path": "/dev/loop", **LOOP}]
    container.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}, *rules]}
    attempts = [f"(: {sign} /dev/{name}) && echo {word} {name}" for name in ("control", "loop") for sign, word in WAYS]
    said = container.shell(f"{{ {'; '.join(attempts)}; }} 2>&1; true").run().splitlines()
    assert all("Operation not permitted" in line for line in said if "sh:" in line)
    return [line for line in said if "sh:" not in line]


WAYS = (("<", "read"), (">", "write"))


@pytest.mark.clause("linux.cgroups.devices")
def test_a_device_that_no_rule_allows_cannot_be_opened(container: Container) -> None:
    assert opened(container, {"allow": True, "access": "r", **CONTROL}) == ["read control"]


@pytest.mark.clause("linux.cgroups.devices")
def test_a_rule_may_leave_a_number_open(container: Container) -> None:
    allowed = {"allow": True, "type": "b", "major": 7, "access": "rwm"}
    assert opened(container, allowed) == ["read loop", "write loop"]


@pytest.mark.clause("linux.cgroups.devices")
def test_a_later_rule_takes_back_what_an_earlier_one_allows(container: Container) -> None:
    rules = [{"allow": True, "access": "rw", **each} for each in (CONTROL, LOOP)]
    rules.append({"allow": False, "access": "w", **CONTROL})
    assert opened(container, *rules) == ["read control", "read loop", "write loop"]
