"""Time and cgroup namespaces, and namespaces that are there already."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Make
from .harness import Container, Failure, namespace

pytestmark = pytest.mark.needs("root")

FILES = {"pid": "pid", "ipc": "ipc", "uts": "uts", "mount": "mnt", "network": "net", "cgroup": "cgroup", "time": "time"}


def with_namespace(container: Container, kind: str, path: str = "") -> Container:
    """Ask for a namespace of *kind*, new or the one at *path*, in place of what was asked for."""
    others = [each for each in container.linux["namespaces"] if each["type"] != kind]
    container.linux["namespaces"] = [*others, {"type": kind, **({"path": path} if path else {})}]
    return container


@pytest.mark.clause("linux.namespaces.new", "linux.namespaces.time", "linux.time-offsets.set")
def test_the_clocks_of_a_time_namespace_have_offsets(container: Container) -> None:
    offsets = {"monotonic": {"secs": 172800, "nanosecs": 500}, "boottime": {"secs": 604800}}
    with_namespace(container, "time").linux["timeOffsets"] = offsets
    container.shell("cat /proc/self/timens_offsets; cat /proc/uptime; echo end; sleep 1000").create().start()
    lines = [line.split() for line in container.written("end").splitlines()]
    assert namespace(container.pid, "time") != namespace("self", "time")
    assert lines[:2] == [["monotonic", "172800", "500"], ["boottime", "604800", "0"]]
    assert float(lines[2][0]) > 604800


@pytest.mark.clause("linux.namespaces.new")
def test_a_time_namespace_may_have_no_offsets(container: Container) -> None:
    with_namespace(container, "time").args("sleep", "1000").create()
    assert namespace(container.pid, "time") != namespace("self", "time")


@pytest.mark.clause("linux.namespaces.path")
def test_exec_has_the_clocks_of_the_container(container: Container) -> None:
    with_namespace(container, "time").linux["timeOffsets"] = {"boottime": {"secs": 604800}}
    container.args("sleep", "1000").create().start()
    assert container.exec("readlink", "/proc/self/ns/time").strip() == namespace(container.pid, "time")


@pytest.mark.clause("cli.namespaces.offsets-need-time")
def test_offsets_without_a_time_namespace_are_refused(container: Container) -> None:
    container.linux["timeOffsets"] = {"monotonic": {"secs": 1}}
    with pytest.raises(Failure, match="time"):
        container.create()


@pytest.mark.clause("linux.namespaces.cgroup")
def test_the_root_of_a_cgroup_namespace_is_the_containers_own_group(container: Container) -> None:
    said = with_namespace(container, "cgroup").args("cat", "/proc/self/cgroup").run()
    assert {line.partition(":")[2].partition(":")[2] for line in said.splitlines()} == {"/"}


@pytest.mark.clause("linux.namespaces.path")
@pytest.mark.parametrize("kind", ["cgroup", "ipc", "network", "pid", "time", "uts"])
def test_a_namespace_of_any_kind_is_joined(make: Make, kind: str) -> None:
    first = make().args("sleep", "1000")
    if kind in ("cgroup", "time"):
        with_namespace(first, kind)
    first.create()
    file = FILES[kind]
    second = with_namespace(make(), kind, f"/proc/{first.pid}/ns/{file}").args("sleep", "1000").create()
    assert namespace(second.pid, file) == namespace(first.pid, file)


@pytest.fixture
def mounts() -> Iterator[Path]:
    """A mount namespace that is like the host's, by a path."""
    with subprocess.Popen(["unshare", "--mount", "sleep", "1000"]) as holder:
        path = Path(f"/proc/{holder.pid}/ns/mnt")
        while os.readlink(path) == namespace("self", "mnt") and holder.poll() is None:
            time.sleep(0.01)
        yield path
        holder.kill()


@pytest.mark.clause("linux.namespaces.path")
def test_the_root_is_built_in_a_mount_namespace_that_is_joined(container: Container, mounts: Path) -> None:
    container.shell("cat /proc/self/mountinfo; sleep 1000")
    with_namespace(container, "mount", str(mounts)).create().start()
    assert os.stat(f"/proc/{container.pid}/ns/mnt").st_ino == os.stat(mounts).st_ino
    assert " /dev/pts " in container.written(" /dev/pts ")


@pytest.mark.clause("linux.namespaces.path")
def test_a_namespace_that_a_mount_keeps_is_joined(container: Container, network: Path) -> None:
    with_namespace(container, "network", str(network)).args("sleep", "1000").create()
    assert os.stat(f"/proc/{container.pid}/ns/net").st_ino == os.stat(network).st_ino


@pytest.mark.clause("linux.namespaces.path-wrong-kind")
@pytest.mark.parametrize("kind", ["ipc", "pid", "uts"])
def test_a_path_to_a_namespace_of_another_kind_is_refused(container: Container, network: Path, kind: str) -> None:
    with pytest.raises(Failure):
        with_namespace(container, kind, str(network)).create()


@pytest.mark.clause("linux.namespaces.path-wrong-kind")
def test_a_path_to_no_namespace_is_refused(container: Container, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failure):
        with_namespace(container, "ipc", str(tmp_path / "file")).create()


@pytest.mark.clause("linux.namespaces.path-wrong-kind")
def test_a_path_to_nothing_is_refused(container: Container, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="missing"):
        with_namespace(container, "ipc", str(tmp_path / "missing")).create()


@pytest.mark.clause("config.values.invalid-errors")
def test_a_namespace_that_nobody_knows_is_refused(container: Container) -> None:
    with pytest.raises(Failure):
        with_namespace(container, "colour").create()


@pytest.mark.clause("linux.cgroups.check-errors")
def test_who_is_in_a_cgroup_outlives_a_container_that_wanted_it_too(make: Make) -> None:
    first, second = make().args("sleep", "1000").create(), make().args("sleep", "1000")
    second.linux["cgroupsPath"] = first.linux["cgroupsPath"]
    try:
        second.create()
    except Failure:
        assert not second.pid_file.exists()
    assert first.status == "created"
