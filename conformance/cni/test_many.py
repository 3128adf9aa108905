"""Many at once, killed in the middle, and mixed with another's plugins."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conformance.cni.conftest import Attach
from conformance.cni.harness import Attached, Config, Plugins
from conformance.networks import REFERENCE, Namespace, answers
from minicontainerd.linux.namespaces import inside

Make = Callable[[], Namespace]
Leases = Callable[[], list[str]]


@pytest.mark.clause("cni.life.concurrent")
def test_a_hundred_at_once_have_a_hundred_addresses_and_leave_nothing(
    plugins: Plugins, network: Config, make: Make, leases: Leases, host: Namespace
) -> None:
    attached = [published(plugins, network, make(), n) for n in range(100)]
    attached[0].add()  # alone, so that the chains that all share are there: the test below is about those
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Attached.add, attached[1:]))
        told = [each["address"] for one in attached for each in one.result["ips"]]
        assert len(set(told)) == 200
        assert [one.container.addresses("eth0") for one in attached] == [
            [each["address"] for each in one.result["ips"]] for one in attached
        ]
        assert sorted(leases()) == sorted(address.split("/")[0] for address in told)
        assert answers(attached[99].container, attached[0].container, attached[99].address(), 80) != ""
        list(pool.map(Attached.delete, attached))
    assert leases() == []
    assert set(host.links()) == {"lo", "mini0"}
    assert not any(host.has(address.split("/")[0]) for address in told)


@pytest.mark.clause("cni.life.concurrent")
def test_the_first_ones_may_come_at_once(
    plugins: Plugins, network: Config, make: Make, leases: Leases, host: Namespace
) -> None:
    """None of them finds the rules and chains that all share, and each makes them."""
    attached = [published(plugins, network, make(), n) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Attached.add, attached))
        assert answers(attached[7].container, attached[0].container, attached[7].address(), 80) != ""
        list(pool.map(Attached.delete, attached))
    assert leases() == []


def published(plugins: Plugins, network: Config, container: Namespace, n: int) -> Attached:
    mapping = {"runtimeConfig": {"portMappings": [port(8000 + n)]}}
    portmap = {"cniVersion": "1.0.0", "name": "web", "type": "portmap", **mapping}
    return Attached(plugins, [network, portmap], container, f"c{n}")


def port(number: int) -> dict[str, Any]:
    return {"hostPort": number, "containerPort": 80, "protocol": "tcp"}


@pytest.mark.clause("cni.life.concurrent", "cni.host-local.ranges")
def test_the_addresses_of_two_implementations_at_once_are_distinct(
    folder: Path, ours: Path, host: Namespace, network: Config, leases: Leases
) -> None:
    config = {**network, "type": "host-local"}
    both = [Plugins([folder], host), Plugins([ours if folder != ours else REFERENCE], host)]

    def add(n: int) -> list[str]:
        answer = both[n % 2].call("ADD", config, containerid=f"c{n}", netns="/proc/none", ifname="eth0")
        return [each["address"] for each in answer.result["ips"]]

    with ThreadPoolExecutor(8) as pool:
        given = list(itertools.chain(*pool.map(add, range(60))))
    assert len(set(given)) == 120
    for n in range(60):  # each gives back what the other took
        both[(n + 1) % 2].call("DEL", config, containerid=f"c{n}", netns="", ifname="eth0").result  # noqa: B018
    assert leases() == []


@pytest.mark.clause("cni.del.best-effort", "cni.life.delete-after-failure")
def test_killed_at_any_moment_del_cleans_up(
    plugins: Plugins, network: Config, make: Make, leases: Leases, host: Namespace
) -> None:
    """A plugin is killed after 1, 2, 3 ... of its system calls that change something, until it is no longer killed."""
    if not Path("/usr/bin/strace").exists():
        pytest.skip("strace counts the system calls; it is in Debian's package strace")
    seen = set()
    for after in itertools.count(1):
        container = make()
        told = {"CNI_CONTAINERID": "c1", "CNI_NETNS": container.path, "CNI_IFNAME": "eth0"}
        ended = killed_after(plugins, network, told, after)
        seen.add((len(leases()), "eth0" in container.links(), host.has("masquerade") or host.has("MASQUERADE")))
        Attached(plugins, [network], container, "c1").delete()
        assert leases() == [], f"after {after} calls"
        assert set(container.links()) == {"lo"} and set(host.links()) <= {"lo", "mini0"}, f"after {after} calls"
        assert not (host.has("10.9.0.") or host.has("fd09::")), f"after {after} calls"
        container.close()
        if ended == 0:
            break
    assert len(seen) > 2  # it was killed in between, and not only before and behind


def killed_after(plugins: Plugins, config: Config, told: dict[str, str], calls: int) -> int:
    """Run ADD, and kill it as it makes its n-th call among those that change something."""
    changing = "linkat,link,rename,renameat2,sendto,sendmsg,write,unlink,unlinkat,openat"
    environment = {**os.environ, **told, "CNI_COMMAND": "ADD", "CNI_PATH": str(plugins.path[0])}
    command = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={changing}"]
    command += ["-e", f"inject={changing}:signal=KILL:when={calls * 7}"]
    with inside(plugins.host.descriptor):
        done = subprocess.run(
            [*command, str(plugins.program("bridge"))],
            input=json.dumps(config).encode(),
            capture_output=True,
            env=environment,
            timeout=60,
        )
    assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), done
    return done.returncode


CHAIN = ("bridge", "host-local", "portmap", "firewall")
MIXES = list(itertools.product((False, True), repeat=len(CHAIN)))


@pytest.fixture
def mixed(tmp_path: Path, ours: Path, host: Namespace) -> Callable[[tuple[bool, ...]], Plugins]:
    """A folder with links to our plugins or to the reference's, one by one."""

    def mixed(is_ours: tuple[bool, ...]) -> Plugins:
        folder = tmp_path / "".join("mr"[not each] for each in is_ours)
        folder.mkdir()
        for name, own in zip(CHAIN, is_ours, strict=True):
            (folder / name).symlink_to((ours if own else REFERENCE) / name)
        return Plugins([folder], host)

    return mixed


@pytest.mark.clause("cni.mixed")
@pytest.mark.parametrize("stack", ["IPv4", "IPv6", "dual"])
@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: "-".join("ours" if own else "ref" for own in mix))
def test_any_mix_comes_to_the_same(
    mixed: Callable[[tuple[bool, ...]], Plugins],
    mix: tuple[bool, ...],
    stack: str,
    network: Config,
    make: Make,
    host: Namespace,
    leases: Leases,
) -> None:
    one = attach_mixed(mixed(mix), stack, network, make)
    told = normal(one.result)
    families = {"IPv4": [4], "IPv6": [6], "dual": [4, 6]}[stack]
    expected = {4: ("10.9.0.2/24", "10.9.0.1", 2), 6: ("fd09::2/64", "fd09::1", 2)}
    assert told["ips"] == [expected[family] for family in families]
    assert told["interfaces"] == [("mini0", ""), ("veth", ""), ("eth0", "container")]
    assert told["routes"] == [{4: "0.0.0.0/0", 6: "::/0"}[family] for family in families]
    assert one.container.addresses("eth0") == [expected[family][0] for family in families]
    assert host.addresses("mini0") == [{4: "10.9.0.1/24", 6: "fd09::1/64"}[family] for family in families]
    for family in families:
        face = "10.9.0.1" if family == 4 else "fd09::1"
        assert answers(one.container, host, face, 8080, listen=80) != ""
    one.delete()
    assert leases() == [] and set(host.links()) == {"lo", "mini0"}
    assert not (host.has("10.9.0.2") or host.has("fd09::2"))


def attach_mixed(plugins: Plugins, stack: str, network: Config, make: Make) -> Attached:
    keep = {"IPv4": slice(0, 1), "IPv6": slice(1, 2), "dual": slice(0, 2)}[stack]
    ipam = network["ipam"]
    ipam = {**ipam, "ranges": ipam["ranges"][keep], "routes": ipam["routes"][keep]}
    chained: Config = {"cniVersion": "1.0.0", "name": "web"}
    configs = [
        {**network, "ipam": ipam},
        {**chained, "type": "portmap", "runtimeConfig": {"portMappings": [port(8080) | {"containerPort": 80}]}},
        {**chained, "type": "firewall"},
    ]
    one = Attached(plugins, configs, make(), "c1")
    one.add()
    return one


def normal(result: Any) -> dict[str, Any]:
    """The result without names and numbers that are chosen by chance."""
    return {
        "interfaces": [
            ("veth" if each["name"].startswith("veth") else each["name"], "container" if each.get("sandbox") else "")
            for each in result["interfaces"]
        ],
        "ips": [(each["address"], each["gateway"], each["interface"]) for each in result["ips"]],
        "routes": [each["dst"] for each in result["routes"]],
    }


@pytest.mark.clause("cni.gc.removes", "cni.gc.delegate", "cni.gc.input")
def test_gc_removes_what_belongs_to_nobody(
    plugins: Plugins, attach: Attach, network: Config, leases: Leases, host: Namespace
) -> None:
    chain = newest(plugins, network)
    kept, lost = attach(*chain), attach(*chain)
    lost.container.close()
    valid = [{"containerID": kept.id, "ifname": "eth0"}]
    for config in chain:
        told = {**config, "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid}
        assert plugins.call("GC", told).code == 0
    assert leases() == [kept.address(4), kept.address(6)]
    assert not (host.has(lost.address(4)) or host.has(lost.address(6)))
    assert [answer.code for answer in kept.check()] == [0, 0, 0]


@pytest.mark.clause("cni.status.ready", "cni.status.delegate", "cni.status.not-relied-on")
def test_status_says_whether_there_are_addresses_left(plugins: Plugins, attach: Attach, network: Config) -> None:
    ipam = {**network["ipam"], "ranges": [[{"subnet": "10.9.0.0/30"}]], "routes": []}
    bridge, *rest = newest(plugins, {**network, "ipam": ipam})
    assert [plugins.call("STATUS", config).code for config in (bridge, *rest)] == [0, 0, 0]
    attach(bridge)
    answer = plugins.call("STATUS", bridge)
    assert answer.code != 0 and answer.said["code"] == 50


@pytest.mark.clause("cni.status.delegate", "cni.delegate.failure", "cni.gc.delegate")
def test_status_and_gc_are_passed_on(plugins: Plugins, network: Config, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "fails").write_text(
        f"#!/bin/sh\necho $CNI_COMMAND >> {tmp_path}/calls\n"
        'echo \'{"cniVersion":"1.1.0","code":50,"msg":"out of order"}\'; exit 1\n'
    )
    (folder / "fails").chmod(0o755)
    plugins.path = [*plugins.path, folder]
    bridge, *_ = newest(plugins, {**network, "ipam": {"type": "fails"}})
    for command in ("STATUS", "GC"):
        answer = plugins.call(command, bridge)
        assert answer.code != 0 and answer.said["code"] == 50
    assert (tmp_path / "calls").read_text().split() == ["STATUS", "GC"]


def newest(plugins: Plugins, network: Config) -> list[Config]:
    """A chain of version 1.1.0, which knows GC and STATUS."""
    said = plugins.call("VERSION", {"cniVersion": "1.0.0", "type": "bridge"}).result
    if "1.1.0" not in said["supportedVersions"]:
        pytest.skip("these plugins are from before CNI 1.1.0, which brought GC and STATUS")
    told: Config = {"cniVersion": "1.1.0", "name": "web"}
    mapping = {"runtimeConfig": {"portMappings": [port(8080)]}}
    return [{**network, **told}, {**told, "type": "portmap", **mapping}, {**told, "type": "firewall"}]
