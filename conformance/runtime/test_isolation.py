"""Namespaces, kernel parameters, filters, terminals, hooks."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from ..patience import wait_until
from .conftest import Make
from .harness import Container, Failure, expect_gone, namespace

KINDS = {"pid": "pid", "ipc": "ipc", "uts": "uts", "mount": "mnt", "network": "net", "cgroup": "cgroup"}


@pytest.mark.clause("linux.namespaces.new")
@pytest.mark.parametrize("kind", KINDS)
def test_a_namespace_without_a_path_is_new(container: Container, kind: str) -> None:
    if kind == "cgroup":
        container.linux["namespaces"].append({"type": "cgroup"})
    container.args("sleep", "1000").create()
    assert namespace(container.pid, KINDS[kind]) != namespace("self", KINDS[kind])


@pytest.mark.clause("linux.namespaces.absent")
@pytest.mark.parametrize("kind", ["ipc", "network", "uts"])
def test_a_namespace_that_is_not_named_is_the_runtimes(container: Container, kind: str) -> None:
    container.linux["namespaces"] = [each for each in container.linux["namespaces"] if each["type"] != kind]
    container.args("sleep", "1000").create()
    assert namespace(container.pid, KINDS[kind]) == namespace("self", KINDS[kind])


@pytest.mark.clause("linux.namespaces.path")
@pytest.mark.parametrize("kind", ["ipc", "network", "uts", "pid"])
def test_a_namespace_with_a_path_is_joined(make: Make, kind: str) -> None:
    first, second = make().args("sleep", "1000").create(), make().args("sleep", "1000")
    for each in second.linux["namespaces"]:
        if each["type"] == kind:
            each["path"] = f"/proc/{first.pid}/ns/{KINDS[kind]}"
    second.create()
    assert namespace(second.pid, KINDS[kind]) == namespace(first.pid, KINDS[kind])


@pytest.mark.clause("linux.namespaces.duplicate")
def test_the_same_namespace_twice_is_refused(container: Container) -> None:
    container.linux["namespaces"].append({"type": "pid"})
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("linux.namespaces.user")
def test_a_user_namespace_maps_root_to_another(container: Container) -> None:
    container.linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    container.linux.update(uidMappings=mapping, gidMappings=mapping)
    for path in (container.bundle, *container.bundle.rglob("*")):
        os.chown(path, 100000, 100000, follow_symlinks=False)
    for parent in container.bundle.parents:
        if os.stat(parent).st_uid == 0 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    container.args("sleep", "1000").create().start()
    assert os.stat(f"/proc/{container.pid}").st_uid == 100000
    assert container.exec("id", "-u") == "0\n"


@pytest.mark.clause("config.hostname")
def test_the_host_name_is_the_containers_own(container: Container) -> None:
    before = socket.gethostname()
    container.config["hostname"] = "inside"
    assert container.args("hostname").run() == "inside\n"
    assert socket.gethostname() == before


@pytest.mark.clause("linux.sysctl.set")
@pytest.mark.parametrize("name", ["net.ipv4.ip_default_ttl", "net/ipv4/ip_default_ttl"])
def test_kernel_parameters_are_set_inside_only(container: Container, name: str) -> None:
    container.linux["sysctl"] = {name: "77"}
    assert container.args("cat", "/proc/sys/net/ipv4/ip_default_ttl").run() == "77\n"
    assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() != "77\n"


@pytest.mark.clause("linux.sysctl.not-namespaced")
@pytest.mark.parametrize("name", ["vm.swappiness", "vm/swappiness", "net/../vm/swappiness", "net.//.vm.swappiness"])
def test_a_parameter_of_the_host_is_refused(container: Container, name: str) -> None:
    container.linux["sysctl"] = {name: "60"}
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("cli.network.loopback")
def test_the_loopback_interface_is_up(container: Container) -> None:
    container.config["mounts"].append({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]})
    assert int(container.args("cat", "/sys/class/net/lo/flags").run(), 16) & 1


@pytest.mark.clause("linux.seccomp.errno")
@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_filter_makes_a_call_fail(container: Container, no_new_privileges: bool) -> None:
    container.process["noNewPrivileges"] = no_new_privileges
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]
    container.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    assert "No space left" in container.shell("mkdir /tmp/folder 2>&1; true").run()


@pytest.mark.clause("linux.seccomp.arguments")
def test_a_filter_can_look_at_an_argument(container: Container) -> None:
    wanted = [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]
    rules = [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": wanted}]
    container.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    said = container.shell("kill -0 $$ && echo zero; kill -USR1 $$ 2>&1; echo alive").run()
    assert "zero" in said
    assert "not permitted" in said
    assert "alive" in said


@pytest.mark.clause("cli.terminal.console-socket")
def test_the_terminals_master_arrives_at_the_console_socket(container: Container, tmp_path: Path) -> None:
    path = str(tmp_path / "console")
    container.process["terminal"] = True
    container.shell("tty; test -c /dev/console && echo console; exit")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        container.create("--console-socket", path)
        connection, _ = listener.accept()
        _, (master,), _, _ = socket.recv_fds(connection, 100, 1)
        connection.close()
    container.start()
    said = b""
    while chunk := _read(master):
        said += chunk
    os.close(master)
    assert said.replace(b"\r", b"").decode() == "/dev/pts/0\nconsole\n"


def _read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:
        return b""  # EIO: every slave is closed


@pytest.mark.clause("cli.terminal.needs-socket")
def test_a_terminal_without_anybody_to_take_it_is_refused(container: Container) -> None:
    container.process["terminal"] = True
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("config.hooks.order", "config.hooks.state", "config.hooks.namespaces")
def test_hooks_run_at_their_moments_with_the_state(container: Container) -> None:
    log = container.bundle / "hooks"
    hook = container.rootfs / "hook"
    # The same program on the host and inside; /log is the same file in both.
    hook.write_text('#!/bin/sh\necho "$1 $(readlink /proc/self/ns/net) $(cat)" >> "$LOG"\n')
    hook.chmod(0o755)
    (container.rootfs / "log").touch()
    log.touch()
    container.config["mounts"].append(
        {"destination": "/log", "type": "bind", "source": str(log), "options": ["bind", "rw"]}
    )
    inside = {"startContainer"}
    container.config["hooks"] = {
        name: [
            {
                "path": "/hook" if name in inside else str(hook),
                "args": ["hook", name],
                "env": ["PATH=/bin:/usr/bin", f"LOG={'/log' if name in inside else log}"],
            }
        ]
        for name in ("createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    }
    container.args("sleep", "1000").create()
    assert [line.split()[0] for line in log.read_text().splitlines()][:2] == ["createRuntime", "createContainer"]
    inner = namespace(container.pid, "net")
    container.start()
    wait_until(lambda: log.read_text().count("\n") == 4, "four hooks have run")
    container.delete("--force")
    seen = {}
    for line in log.read_text().splitlines():
        name, place, state = line.split(" ", 2)
        seen[name] = (place == inner, json.loads(state))
    assert set(seen) == {"createRuntime", "createContainer", "startContainer", "poststart", "poststop"}
    assert {name for name, (is_inside, _) in seen.items() if is_inside} == {"createContainer", "startContainer"}
    assert {state["id"] for _, state in seen.values()} == {container.id}
    assert {state["bundle"] for _, state in seen.values()} == {str(container.bundle)}


@pytest.mark.clause("config.hooks.poststart")
def test_poststart_hooks_run_at_start_and_not_before(container: Container) -> None:
    mark = container.bundle / "started"
    container.config["hooks"] = {"poststart": [{"path": "/bin/touch", "args": ["touch", str(mark)]}]}
    container.args("sleep", "1000").create()
    assert not mark.exists()
    container.start()
    assert mark.exists()


@pytest.mark.clause("config.hooks.failure")
def test_a_failing_create_hook_ends_the_container(container: Container) -> None:
    container.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    with pytest.raises(Failure):
        container.create()
    expect_gone(container)
