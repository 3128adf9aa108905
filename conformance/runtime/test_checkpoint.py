"""``checkpoint`` and ``restore``: a container's processes written to files, and gone on with later, by CRIU.

CRIU looks into the innards of the kernel, so whether it works is a matter of its version and the kernel's; where
``criu check`` fails, these run in a guest. What a container has of its caller's (files outside of it, a terminal) is
not the container's to keep, hence its streams are ``/dev/null`` here, or pipes.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from ..patience import patience, wait_until
from .harness import Container, Failure, Runtime, expect_gone, namespace
from .test_cgroup_values import group_of

pytestmark = pytest.mark.needs("root", "criu", "cgroup-v2")

COUNT = "i=0; while true; do i=$((i + 1)); echo $i > /tmp/next; mv /tmp/next /tmp/count; sleep 0.05; done"


@pytest.fixture(autouse=True)
def built_with_criu(runtime: Runtime) -> None:
    """crun has CRIU as a library or not at all, and says which; Debian's has not."""
    if runtime.name == "crun" and "+CRIU" not in runtime("--version"):
        pytest.skip("crun is built without CRIU")


@pytest.fixture
def counting(container: Container) -> Container:
    """A container that counts, in a file of its root filesystem."""
    link(container, "mv")
    launch(container.shell(COUNT))
    counted(container, beyond=1)
    return container


def link(container: Container, applet: str) -> None:
    (container.rootfs / "bin" / applet).symlink_to("busybox")


def launch(container: Container, stdout: int = subprocess.DEVNULL) -> None:
    """Create and start, with no file of ours as a stream."""
    container.write_config()
    bring(container, "create", stdout=stdout)
    container.start()


def bring(container: Container, command: str, *flags: str, stdout: int = subprocess.DEVNULL) -> None:
    """``create`` or ``restore``, with *stdout* as the container's.

    Raises:
        Failure: another status than 0.
    """
    log = container.bundle / "log.json"
    log.unlink(missing_ok=True)
    words = [*container.runtime.words(log), command, "--bundle", str(container.bundle)]
    words += ["--pid-file", str(container.pid_file), *flags, container.id]
    found = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stdout, timeout=patience(30))
    if found.returncode != 0:
        raise Failure(command, found.returncode, container.runtime.last_error(log) + criu_log(container))


def criu_log(container: Container) -> str:
    """What CRIU had to complain of, for whoever reads why a test failed."""
    found = [line for log in images(container).glob("*.log") for line in log.read_text().splitlines()]
    return "".join(f"\n{line}" for line in found if "Error" in line or "Warn" in line)


def images(container: Container) -> Path:
    return container.bundle / "images"


def checkpoint(container: Container, *flags: str) -> None:
    try:
        container.runtime("checkpoint", "--image-path", str(images(container)), *flags, container.id, seconds=60)
    except Failure as failure:
        raise Failure("checkpoint", failure.status, failure.message + criu_log(container)) from None


def restore(container: Container, *flags: str, stdout: int = subprocess.DEVNULL) -> None:
    bring(container, "restore", "--image-path", str(images(container)), "--detach", *flags, stdout=stdout)


def count(container: Container) -> int:
    return int((container.rootfs / "tmp/count").read_text() or "0")


def counted(container: Container, *, beyond: int) -> int:
    """The number, once it is larger than *beyond*."""
    path = container.rootfs / "tmp/count"
    wait_until(lambda: path.exists() and count(container) > beyond, f"it counts beyond {beyond}")
    return count(container)


@pytest.mark.clause("cli.criu.goes-on", "cli.criu.gone")
def test_it_goes_on_where_it_was(counting: Container) -> None:
    counted(counting, beyond=5)
    group = group_of(counting)
    checkpoint(counting)
    stopped = count(counting)
    expect_gone(counting)
    assert not group.exists()
    restore(counting)
    assert counting.status == "running"
    assert stopped < counted(counting, beyond=stopped) < stopped + 100


@pytest.mark.clause("cli.criu.goes-on")
def test_it_can_be_done_twice(counting: Container) -> None:
    for _ in range(2):
        checkpoint(counting)
        stopped = count(counting)
        restore(counting)
        counted(counting, beyond=stopped)


@pytest.mark.clause("cli.criu.leave-running")
def test_it_can_be_left_running(counting: Container) -> None:
    pid = counting.pid
    checkpoint(counting, "--leave-running")
    assert (counting.status, counting.state()["pid"]) == ("running", pid)
    counted(counting, beyond=count(counting))
    assert list(images(counting).glob("core-*.img"))


@pytest.mark.clause("cli.criu.operate", "cli.criu.pid-file")
def test_what_is_restored_is_a_container(counting: Container) -> None:
    checkpoint(counting)
    restore(counting)
    assert counting.state()["pid"] == counting.pid
    assert counting.state()["bundle"] == str(counting.bundle)
    assert group_of(counting).name == counting.id
    assert counting.exec("cat", "/proc/1/comm").strip() == "sh"
    assert namespace(counting.pid, "pid") != namespace("self", "pid")
    with pytest.raises(Failure, match="not stopped|is running"):
        counting.delete()
    counting.kill("KILL")
    counting.wait("stopped").delete()
    expect_gone(counting)


@pytest.mark.clause("cli.criu.operate")
def test_what_is_restored_can_be_paused(counting: Container) -> None:
    checkpoint(counting)
    restore(counting)
    counting.runtime("pause", counting.id)
    assert counting.status == "paused"
    counting.runtime("resume", counting.id)
    counted(counting, beyond=count(counting))


@pytest.mark.clause("cli.criu.pid-file")
def test_the_process_is_ours_to_text_in(counting: Container) -> None:
    checkpoint(counting)
    restore(counting)
    counting.kill("KILL")
    _, status = os.waitpid(counting.pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


@pytest.mark.clause("cli.criu.kept")
def test_what_it_holds_is_as_before(container: Container) -> None:
    container.config["hostname"] = "before"
    container.process["cwd"] = "/root"
    (container.rootfs / "tmp/lines").write_text("one\ntwo\n")
    script = "exec < /tmp/lines; read a; echo $a > /dev/kept; until test -e /tmp/go; do sleep 0.05; done; read b"
    container.shell(f"{script}; echo $b $(hostname) $(pwd) $(cat /dev/kept) > /tmp/said; exec sleep 1000")
    launch(container)
    assert text_in(container, "dev/kept") == "one\n"
    checkpoint(container)
    restore(container)
    (container.rootfs / "tmp/go").touch()
    assert text_in(container, "tmp/said") == "two before /root one\n"


def text_in(container: Container, path: str) -> str:
    """What is in a file of the container's, once there is anything."""
    file = Path(f"/proc/{container.pid}/root/{path}")
    wait_until(lambda: file.exists() and file.read_text(), f"something is in {path}")
    return file.read_text()


@pytest.mark.clause("cli.criu.bind")
def test_what_was_bound_is_bound_again(container: Container, tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.write_text("bound")
    for source, destination in ((folder, "/data"), (file, "/etc/bound")):
        container.config["mounts"].append(
            {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", "ro"]}
        )
    launch(container.args("sleep", "1000"))
    checkpoint(container)
    (folder / "later").write_text("seen")
    restore(container)
    assert container.exec("cat", "/data/later") == "seen"
    assert container.exec("cat", "/etc/bound") == "bound"
    with pytest.raises(Failure):
        container.exec("touch", "/data/mine")


@pytest.mark.clause("cli.criu.masked")
def test_what_was_masked_is_masked_again(container: Container) -> None:
    container.linux["maskedPaths"] = ["/proc/kcore", "/proc/keys", "/proc/acpi", "/proc/not-there"]
    container.linux["readonlyPaths"] = ["/proc/sys"]
    launch(container.args("sleep", "1000"))
    checkpoint(container)
    restore(container)
    assert container.exec("cat", "/proc/keys") == ""
    with pytest.raises(Failure):
        container.exec("sh", "-c", "echo other > /proc/sys/kernel/hostname")


@pytest.mark.clause("cli.criu.read-only")
def test_a_read_only_root_is_read_only_again(container: Container) -> None:
    container.config["root"]["readonly"] = True
    launch(container.args("sleep", "1000"))
    checkpoint(container)
    restore(container)
    with pytest.raises(Failure):
        container.exec("touch", "/mine")


@pytest.mark.clause("cli.criu.limits")
def test_its_limits_are_as_before(container: Container) -> None:
    container.linux["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 20}}
    launch(container.args("sleep", "1000"))
    checkpoint(container)
    restore(container)
    group = group_of(container)
    assert [(group / name).read_text().strip() for name in ("memory.max", "pids.max")] == [str(64 << 20), "20"]


@pytest.mark.clause("cli.criu.pipe")
def test_a_pipe_is_the_new_callers(container: Container) -> None:
    container.shell("until test -e /tmp/go; do sleep 0.05; done; echo heard; exec sleep 1000")
    former = os.pipe()
    launch(container, stdout=former[1])
    checkpoint(container)
    theirs = os.pipe()
    restore(container, stdout=theirs[1])
    (container.rootfs / "tmp/go").touch()
    assert os.read(theirs[0], 100) == b"heard\n"
    for descriptor in (*former, *theirs):
        os.close(descriptor)


@pytest.mark.clause("cli.criu.foreground")
def test_restore_can_stay_until_the_end(container: Container) -> None:
    container.shell("until test -e /tmp/go; do sleep 0.05; done; exit 7")
    launch(container)
    checkpoint(container)
    (container.rootfs / "tmp/go").touch()
    with pytest.raises(Failure) as failure:
        bring(container, "restore", "--image-path", str(images(container)))
    assert failure.value.status == 7
    expect_gone(container)


@pytest.mark.clause("cli.criu.not-running")
def test_what_is_not_running_cannot_be_checkpointed(container: Container) -> None:
    container.args("true").create()
    with pytest.raises(Failure, match="created"):
        checkpoint(container)
    container.start().wait("stopped")
    with pytest.raises(Failure, match="stopped"):
        checkpoint(container)


@pytest.mark.clause("cli.criu.taken")
def test_an_id_in_use_cannot_be_restored(counting: Container) -> None:
    checkpoint(counting, "--leave-running")
    with pytest.raises(Failure, match="exist"):
        restore(counting)
    counted(counting, beyond=count(counting))


@pytest.mark.clause("cli.criu.no-images")
def test_without_a_checkpoint_there_is_nothing_to_restore(container: Container) -> None:
    container.args("true").write_config()
    with pytest.raises(Failure):
        restore(container)
    expect_gone(container)
