"""Properties of the config one by one: what each does, what it refuses, and what must not matter."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
from pathlib import Path

import pytest

from .harness import Container, Failure


@pytest.mark.clause("config.root.relative", "config.root.is-slash")
@pytest.mark.parametrize("form", ["relative", "absolute"])
def test_the_root_is_told_by_a_relative_or_an_absolute_path(container: Container, form: str) -> None:
    container.rootfs.rename(container.bundle / "elsewhere")
    (container.bundle / "elsewhere/mark").write_text("here")
    container.config["root"]["path"] = "elsewhere" if form == "relative" else str(container.bundle / "elsewhere")
    assert container.args("cat", "/mark").run() == "here"


@pytest.mark.clause("config.annotations.unknown", "config.annotations.value-empty", "config.annotations.none")
@pytest.mark.parametrize("annotations", [None, {}, {"org.example.nobody-knows-it": "", "org.example.x": "y"}])
def test_annotations_that_nobody_knows_are_ignored(container: Container, annotations: dict[str, str] | None) -> None:
    if annotations is not None:
        container.config["annotations"] = annotations
    assert container.shell("echo ran").run() == "ran\n"


@pytest.mark.clause("config.extensibility.ignored", "config.extensibility.logged", "runtime.warnings.go-on")
@pytest.mark.parametrize("place", ["top", "process", "user", "root", "mount", "linux", "namespace", "resources"])
def test_a_property_that_nobody_knows_is_ignored(container: Container, place: str) -> None:
    config = container.config
    container.linux["resources"] = {}
    places = {"top": config, "process": container.process, "user": container.process["user"], "root": config["root"]}
    places |= {"mount": config["mounts"][0], "linux": container.linux, "namespace": container.linux["namespaces"][0]}
    places |= {"resources": container.linux["resources"]}
    places[place]["nobodyKnowsThis"] = {"deep": [1, "two", None]}
    assert container.shell("echo ran").run() == "ran\n"


def with_terminal(container: Container, folder: Path) -> int:
    """Create with a terminal; its master."""
    container.process["terminal"] = True
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "console"))
        listener.listen()
        container.create("--console-socket", str(folder / "console"))
        connection, _ = listener.accept()
        with connection:
            _, (master,), _, _ = socket.recv_fds(connection, 100, 1)
    return master


@pytest.mark.clause("config.process.terminal", "config.process.console-size", "linux.devices.console")
def test_a_terminal_has_its_size_and_is_the_console(container: Container, tmp_path: Path) -> None:
    container.process["consoleSize"] = {"height": 33, "width": 77}
    container.shell("for n in 0 1 2; do tty <&$n; done; stat -c %t:%T /dev/pts/0 /dev/console; sleep 1000")
    master = with_terminal(container, tmp_path)
    try:
        rows, columns, *_ = struct.unpack("HHHH", fcntl.ioctl(master, termios.TIOCGWINSZ, bytes(8)))
        assert (rows, columns) == (33, 77)
        container.start()
        said = b""
        while said.count(b"\n") < 5:
            said += os.read(master, 4096)
        first, second, third, terminal, console = said.decode().split()
        assert {first, second, third} == {"/dev/pts/0"}
        assert terminal == console
    finally:
        os.close(master)


@pytest.mark.clause("config.process.console-size-ignored")
@pytest.mark.parametrize("terminal", [False, None])
def test_without_a_terminal_its_size_is_ignored(container: Container, terminal: bool | None) -> None:
    container.process["consoleSize"] = {"height": 33, "width": 77}
    if terminal is not None:
        container.process["terminal"] = terminal
    assert container.shell("test -t 1 || echo none").run() == "none\n"


@pytest.mark.clause("config.domainname")
def test_the_domain_name_is_the_containers_own(container: Container) -> None:
    before = Path("/proc/sys/kernel/domainname").read_text()
    container.config["domainname"] = "inside.example"
    assert container.args("cat", "/proc/sys/kernel/domainname").run() == "inside.example\n"
    assert Path("/proc/sys/kernel/domainname").read_text() == before


@pytest.mark.clause("linux.devices.other-file-errors")
def test_another_file_at_the_path_of_a_device_is_an_error(container: Container) -> None:
    (container.rootfs / "mine").write_text("a file")
    container.linux["devices"] = [{"path": "/mine", "type": "c", "major": 1, "minor": 3}]
    with pytest.raises(Failure):
        container.create()
    assert (container.rootfs / "mine").read_text() == "a file"


@pytest.mark.clause("linux.devices.anywhere", "linux.devices.extra", "linux.devices.any-way")
def test_a_device_may_be_anywhere(container: Container) -> None:
    container.linux["devices"] = [
        {"path": "/not/in/dev", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 0, "gid": 0},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
    ]
    said = container.shell("stat -c '%t:%T %a' /not/in/dev; test -p /dev/pipe && echo pipe; stat -c %a /dev/pipe").run()
    assert said == "1:5 600\npipe\n622\n"


@pytest.mark.clause("linux.devices.extra")
def test_a_pipe_needs_no_numbers_and_may_have_some(container: Container) -> None:
    container.linux["devices"] = [{"path": "/dev/pipe", "type": "p", "major": 7, "minor": 8, "uid": 5, "gid": 6}]
    assert container.shell("test -p /dev/pipe && stat -c '%u:%g' /dev/pipe").run() == "5:6\n"


@pytest.mark.clause("config.values.invalid-errors")
def test_a_device_of_a_type_that_nobody_knows_is_refused(container: Container) -> None:
    container.linux["devices"] = [{"path": "/dev/mine", "type": "x", "major": 1, "minor": 3}]
    with pytest.raises(Failure, match='invalid device type "?x'):
        container.create()


@pytest.mark.clause("linux.devices.ptmx")
def test_ptmx_is_of_the_containers_own_devpts(container: Container) -> None:
    said = container.shell(
        "stat -L -c %t:%T /dev/ptmx /dev/pts/ptmx; ls /dev/pts; exec 3<>/dev/ptmx; ls /dev/pts"
    ).run()
    assert said.split() == ["5:2", "5:2", "ptmx", "0", "ptmx"]


@pytest.mark.clause("linux.namespaces.path-wrong-kind")
@pytest.mark.parametrize("path", ["/proc/self/ns/uts", "/etc/passwd", "/no/such/path"])
def test_a_path_that_is_no_network_namespace_is_refused(container: Container, path: str) -> None:
    for each in container.linux["namespaces"]:
        if each["type"] == "network":
            each["path"] = path
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("linux.namespaces.{kind}")
@pytest.mark.parametrize("kind", ["pid", "network", "mount", "ipc", "uts", "cgroup"])
def test_what_a_namespace_keeps_apart(container: Container, kind: str) -> None:
    looks = {
        "pid": ("echo $$", "1"),
        "network": ("grep -c : /proc/net/dev", "1"),
        "mount": ("mount -t tmpfs x /tmp && grep -c ' /tmp ' /proc/self/mountinfo", "1"),
        "ipc": ("test $(grep -c . /proc/sysvipc/shm) = 1 && echo empty", "empty"),
        "uts": ("hostname mine && hostname", "mine"),
        "cgroup": ("cat /proc/self/cgroup | grep ^0::", "0::/"),
    }
    if kind == "cgroup":
        container.linux["namespaces"].append({"type": "cgroup"})
    for names in container.process["capabilities"].values():
        names.append("CAP_SYS_ADMIN")
    script, answer = looks[kind]
    before = socket.gethostname(), Path("/proc/self/mountinfo").read_text().count(" /tmp ")
    assert container.shell(script).run().strip() == answer
    assert (socket.gethostname(), Path("/proc/self/mountinfo").read_text().count(" /tmp ")) == before


@pytest.mark.clause("runtime.linux.descriptors.null")
def test_standard_streams_may_be_null(container: Container) -> None:
    assert container.shell("readlink /proc/self/fd/0").run() == "/dev/null\n"
