"""User namespaces: who is who inside and outside, and what root of one may still do there."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import Make
from .harness import Container, Failure, namespace

pytestmark = pytest.mark.needs("root")

RANGES = [
    {"containerID": 0, "hostID": 100000, "size": 1000},
    {"containerID": 1000, "hostID": 300000, "size": 64536},
]
"""Two of them, far apart: 1000 inside is 300000 outside."""

NS_GET_USERNS = 0xB701


def in_user_namespace(container: Container, ranges: list[dict[str, int]] = RANGES, path: str = "") -> Container:
    """Give *container* a user namespace of *ranges*, or the one at *path*, and its files to that namespace's root."""
    container.linux["namespaces"].append({"type": "user", **({"path": path} if path else {})})
    container.linux.update(uidMappings=ranges, gidMappings=ranges)
    root = ranges[0]["hostID"]
    for each in (container.bundle, *container.bundle.rglob("*")):
        os.chown(each, root, root, follow_symlinks=False)
    for parent in container.bundle.parents:
        if parent != Path("/") and parent.stat().st_uid == 0:
            parent.chmod(parent.stat().st_mode | 0o111)  # the way to the rootfs is walked as that root
    return container


def mount(destination: str, type: str, *options: str, source: str = "") -> dict[str, Any]:
    return {"destination": destination, "type": type, "source": source or type, "options": list(options)}


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.clause("linux.namespaces.user")
def test_every_range_is_mapped(container: Container) -> None:
    in_user_namespace(container).shell("cat /proc/self/uid_map /proc/self/gid_map")
    assert words(container.run()) == [["0", "100000", "1000"], ["1000", "300000", "64536"]] * 2


@pytest.mark.clause("linux.namespaces.user", "config.process.user")
def test_the_programs_user_is_counted_inside(container: Container) -> None:
    in_user_namespace(container).process["user"] = {"uid": 1005, "gid": 7, "additionalGids": [1006, 8]}
    container.args("sleep", "1000").create().start()
    status = Path(f"/proc/{container.pid}/status").read_text().splitlines()
    found = {key: value.split() for key, _, value in (line.partition(":") for line in status)}
    assert (found["Uid"], found["Gid"]) == (["300005"] * 4, ["100007"] * 4)
    assert set(found["Groups"]) - {"100007"} == {"300006", "100008"}


@pytest.mark.clause("linux.namespaces.remap", "linux.mappings.owners-kept")
def test_files_of_the_mapped_root_are_roots_inside(container: Container) -> None:
    in_user_namespace(container)
    (container.rootfs / "theirs").touch()  # the host's root is nobody inside
    container.shell("stat -c %u /bin /theirs; touch /made; stat -c %u:%g /made")
    assert container.run().split() == ["0", "65534", "0:0"]
    assert (container.rootfs / "made").stat().st_uid == 100000


@pytest.mark.clause("linux.namespaces.user", "linux.namespaces.new")
def test_the_other_new_namespaces_belong_to_it(container: Container) -> None:
    container.linux["namespaces"].append({"type": "cgroup"})
    in_user_namespace(container).args("sleep", "1000").create()
    theirs = os.stat(f"/proc/{container.pid}/ns/user").st_ino
    for kind in ("pid", "ipc", "uts", "mnt", "net", "cgroup"):
        file = os.open(f"/proc/{container.pid}/ns/{kind}", os.O_RDONLY)
        owner = fcntl.ioctl(file, NS_GET_USERNS)
        assert os.fstat(owner).st_ino == theirs, kind
        os.close(owner)
        os.close(file)


@pytest.mark.clause("linux.namespaces.user", "linux.namespaces.path")
def test_a_user_namespace_with_a_path_is_joined(make: Make) -> None:
    first = in_user_namespace(make()).args("sleep", "1000").create()
    second = in_user_namespace(make(), path=f"/proc/{first.pid}/ns/user").args("sleep", "1000").create()
    assert namespace(second.pid, "user") == namespace(first.pid, "user")
    assert os.stat(f"/proc/{second.pid}").st_uid == 100000


@pytest.mark.clause("linux.namespaces.user", "linux.namespaces.path")
def test_the_namespaces_of_another_user_namespace_are_joined_with_it(make: Make) -> None:
    first = in_user_namespace(make()).args("sleep", "1000").create()
    second = in_user_namespace(make(), path=f"/proc/{first.pid}/ns/user").args("sleep", "1000")
    files = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
    for each in second.linux["namespaces"]:
        if each["type"] in files:
            each["path"] = f"/proc/{first.pid}/ns/{files[each['type']]}"
    second.create()
    for file in files.values():
        assert namespace(second.pid, file) == namespace(first.pid, file)


@pytest.mark.clause("linux.namespaces.user", "linux.namespaces.path")
def test_a_namespace_of_the_hosts_can_be_joined_with_a_new_user_namespace(container: Container, network: Path) -> None:
    for each in container.linux["namespaces"]:
        if each["type"] == "network":
            each["path"] = str(network)
    in_user_namespace(container).args("sleep", "1000").create()
    assert os.stat(f"/proc/{container.pid}/ns/net").st_ino == os.stat(network).st_ino


@pytest.mark.clause("linux.namespaces.user", "config.mounts.type")
def test_the_kernels_filesystems_can_be_mounted(container: Container) -> None:
    in_user_namespace(container).config["mounts"] += [
        mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        mount("/dev/shm", "tmpfs", "mode=1777", "size=64k"),
    ]
    said = container.shell("cat /proc/self/mountinfo").run()
    fields = {line[4]: line[line.index("-") + 1] for line in words(said)}
    assert {path: fields[path] for path in ("/proc", "/sys", "/dev", "/dev/pts", "/dev/mqueue", "/dev/shm")} == {
        "/proc": "proc",
        "/sys": "sysfs",
        "/dev": "tmpfs",
        "/dev/pts": "devpts",
        "/dev/mqueue": "mqueue",
        "/dev/shm": "tmpfs",
    }


@pytest.mark.clause("linux.namespaces.user", "config.mounts.type")
def test_terminals_belong_to_the_group_as_it_is_called_inside(container: Container) -> None:
    in_user_namespace(container)
    container.config["mounts"][-1]["options"].append("gid=5")
    container.args("sleep", "1000").create().start()
    mounts = Path(f"/proc/{container.pid}/mountinfo").read_text().splitlines()
    (found,) = [line for line in mounts if " /dev/pts " in line]
    assert "gid=100005" in found  # as the host calls it


@pytest.mark.clause("linux.namespaces.user", "linux.devices.default")
def test_the_default_devices_are_those_of_the_host(container: Container) -> None:
    script = "cd /dev; for n in null zero full random urandom tty; do stat -c '%n %t:%T' $n; done; echo > null; echo ok"
    said = in_user_namespace(container).shell(script).run().split()
    expected = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    assert dict(zip(said[:-1:2], said[1:-1:2], strict=True)) == expected
    assert said[-1] == "ok"


@pytest.mark.clause("linux.namespaces.user", "config.mounts.bind")
def test_a_folder_that_only_the_hosts_root_can_reach_can_be_bound(container: Container, tmp_path: Path) -> None:
    (tmp_path / "closed/data").mkdir(parents=True)
    (tmp_path / "closed/data/file").write_text("seen")
    container.config["mounts"].append(mount("/data", "bind", "rbind", source=str(tmp_path / "closed/data")))
    in_user_namespace(container)
    (tmp_path / "closed").chmod(0o700)
    assert container.args("cat", "/data/file").run() == "seen"


@pytest.mark.clause("linux.namespaces.user", "config.mounts.bind", "config.mounts.options")
def test_a_read_only_bind_keeps_what_its_source_forbids(container: Container, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec,mode=755", "source", source], check=True)
    try:
        container.config["mounts"].append(mount("/data", "bind", "bind", "ro", source=str(source)))
        in_user_namespace(container).args("cat", "/proc/self/mountinfo")
        (options,) = [set(line[5].split(",")) for line in words(container.run()) if line[4] == "/data"]
    finally:
        subprocess.run(["umount", source], check=True)
    assert options >= {"ro"}


@pytest.mark.clause("linux.namespaces.user", "linux.masked-paths", "linux.readonly-paths")
def test_paths_are_masked_and_read_only_there_too(container: Container) -> None:
    in_user_namespace(container)
    (container.rootfs / "secret").write_text("secret")
    container.linux.update(maskedPaths=["/secret", "/proc/acpi", "/proc/scsi"], readonlyPaths=["/proc/sys"])
    said = container.shell("cat /secret; ls /proc/acpi /proc/scsi; echo x 2>&1 > /proc/sys/kernel/hostname").run()
    assert "secret" not in said
    assert "Read-only file system" in said


@pytest.mark.clause("linux.namespaces.user", "config.hostname", "linux.sysctl.set")
def test_its_root_sets_names_and_parameters_of_its_own_namespaces(container: Container) -> None:
    in_user_namespace(container).config["hostname"] = "mapped"
    container.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}
    assert container.shell("hostname; cat /proc/sys/net/ipv4/ip_default_ttl").run() == "mapped\n77\n"


@pytest.mark.clause("linux.namespaces.user")
def test_exec_is_in_the_user_namespace(container: Container) -> None:
    in_user_namespace(container).args("sleep", "1000").create().start()
    assert container.exec("--user=1000:1000", "sh", "-c", "id -u; readlink /proc/self/ns/user").split() == [
        "1000",
        namespace(container.pid, "user"),
    ]


@pytest.mark.clause("cli.namespaces.user-needs-mappings")
def test_a_new_user_namespace_without_mappings_is_refused(container: Container) -> None:
    container.linux["namespaces"].append({"type": "user"})
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("cli.namespaces.user-needs-mappings")
@pytest.mark.parametrize("which", ["uidMappings", "gidMappings"])
def test_a_new_user_namespace_without_a_root_is_refused(container: Container, which: str) -> None:
    in_user_namespace(container).linux[which] = [{"containerID": 1000, "hostID": 100000, "size": 1000}]
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("linux.namespaces.user", "config.process.user")
def test_a_user_that_is_not_mapped_is_refused(container: Container) -> None:
    in_user_namespace(container).process["user"] = {"uid": 70000, "gid": 0}
    with pytest.raises(Failure):
        container.create()
