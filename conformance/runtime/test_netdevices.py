"""Network devices of the host that a container is given. The host here is a network namespace of the test's own.

Debian 12 has no runtime that can do it: it came with runc 1.4 and crun 1.23. So these tests rest on the text alone.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import Container, Failure


@pytest.fixture
def device(container: Container, network: Path) -> Iterator[str]:
    """A device of the namespace that the runtime is started in."""
    container.runtime.within = ("nsenter", f"--net={network}")
    ip(network, "link add d0 address 02:00:00:00:00:01 mtu 1400 type veth peer name d1")
    ip(network, "address add 192.0.2.7/24 dev d0")
    ip(network, "address add 2001:db8::7/64 dev d0 nodad")
    ip(network, "address add 192.0.2.8/24 dev d0 valid_lft 600 preferred_lft 600")
    yield "d0"
    container.runtime.within = ()  # the namespace is gone before the container is


def ip(network: Path | str, words: str) -> str:
    """Run ip(8) in a network namespace, which is named by its path."""
    command = ["nsenter", f"--net={network}", "ip", *words.split()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def devices(network: Path | str) -> dict[str, dict[str, Any]]:
    return {each["ifname"]: each for each in json.loads(ip(network, "-json address show"))}


def inside(container: Container) -> str:
    return f"/proc/{container.pid}/ns/net"


def sleeping_with(container: Container, **wanted: dict[str, str]) -> Container:
    container.linux["netDevices"] = wanted
    return container.args("sleep", "1000").create().start()


@pytest.mark.clause("linux.net-devices.moved", "linux.net-devices.up")
def test_it_is_the_containers_and_up(container: Container, device: str, network: Path) -> None:
    sleeping_with(container, d0={})
    assert device not in devices(network)
    assert "UP" in devices(inside(container))[device]["flags"]


@pytest.mark.clause("linux.net-devices.moved", "linux.net-devices.addresses-kept")
def test_it_keeps_what_it_was_under_a_new_name(container: Container, device: str, network: Path) -> None:
    before = devices(network)[device]
    sleeping_with(container, d0={"name": "eth9"})
    after = devices(inside(container))["eth9"]
    assert (after["address"], after["mtu"]) == (before["address"], before["mtu"]) == ("02:00:00:00:00:01", 1400)
    lasting = {(each["local"], each["prefixlen"]) for each in after["addr_info"] if each["scope"] == "global"}
    assert lasting == {("192.0.2.7", 24), ("2001:db8::7", 64)}


@pytest.mark.clause("linux.net-devices.checked")
def test_what_cannot_be_moved_leaves_all_where_they_are(container: Container, device: str, network: Path) -> None:
    for other in ("nobody", "lo"):
        with pytest.raises(Failure):
            sleeping_with(container, d0={}, **{other: {"name": "eth1"}})
        assert device in devices(network)


@pytest.mark.clause("linux.net-devices.name-taken-errors", "linux.net-devices.checked")
def test_a_name_that_is_taken_is_an_error(container: Container, device: str, network: Path) -> None:
    with pytest.raises(Failure):
        sleeping_with(container, d0={"name": "lo"})
    assert device in devices(network)


@pytest.mark.clause("linux.net-devices.template")
def test_a_template_becomes_the_next_free_name(container: Container, device: str) -> None:
    sleeping_with(container, d0={"name": "net%d"}, d1={"name": "net%d"})
    assert {"net0", "net1"} <= devices(inside(container)).keys()


@pytest.mark.clause("linux.net-devices.not-moved-back")
def test_it_does_not_come_back(container: Container, device: str, network: Path) -> None:
    sleeping_with(container, d0={})
    container.kill("KILL")
    container.wait("stopped").delete()
    assert device not in devices(network)
