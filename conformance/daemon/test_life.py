"""One container's life, asked of one daemon: its output, its terminal, its events, its end, and what is left."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import tarfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from ..patience import patience, wait_until
from ..peers import Ctr


@contextmanager
def events(ctr: Ctr) -> Iterator[list[str]]:
    """What ``ctr events`` prints while the block runs; the list is complete after it.

    Nothing tells that a subscription has begun, or that all has come. Labels of the namespace do, which are events too.
    """
    lines: list[str] = []
    with subprocess.Popen(ctr.command("events"), stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None
        try:
            said = _until(listener.stdout, ctr, "first")
            yield lines
            said += _until(listener.stdout, ctr, "last")
        finally:
            listener.terminate()
    lines += [line for line in said.splitlines() if f" {ctr.namespace} " in line and " /namespaces/" not in line]


def _until(output: IO[bytes], ctr: Ctr, mark: str) -> str:
    """Label the namespace with *mark* until *output* tells of it; answers all that it said."""
    said, end = b"", time.monotonic() + patience(30)
    while mark.encode() not in said and time.monotonic() < end:
        ctr("namespaces", "label", ctr.namespace, f"{mark}={time.monotonic_ns()}")
        while select.select([output], [], [], 0.2)[0] and mark.encode() not in said:
            said += os.read(output.fileno(), 1 << 16)
    return said.decode()


def topic(line: str) -> str:
    return line.split(" ")[5]


def body(line: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(line.split(" ", 6)[6])
    return found


@pytest.mark.clause("ctr.events")
def test_the_events_of_one_life(ctr: Ctr, image: str, fifos: str) -> None:
    with events(ctr) as lines:
        ctr("run", "--detach", "--fifo-dir", fifos, image, "life", "sleep", "1000")
        ctr("tasks", "exec", "--exec-id", "added", "life", "true")
        ctr("tasks", "pause", "life")
        ctr("tasks", "resume", "life")
        ctr("tasks", "kill", "--signal", "KILL", "life")
        ctr.wait_stopped("life")
        ctr.run("tasks", "rm", "life")
        ctr("containers", "rm", "life")
    assert [topic(line) for line in lines if "/snapshot/remove" not in line] == [
        "/snapshot/prepare",
        "/containers/create",
        "/tasks/create",
        "/tasks/start",
        "/tasks/exec-added",
        "/tasks/exec-started",
        "/tasks/exit",
        "/tasks/paused",
        "/tasks/resumed",
        "/tasks/exit",
        "/tasks/delete",
        "/containers/delete",
    ]
    exits = [body(line) for line in lines if topic(line) == "/tasks/exit"]
    assert [each["id"] for each in exits] == ["added", "life"]
    assert exits[1]["exit_status"] == 137 and exits[1]["container_id"] == "life"
    created = next(body(line) for line in lines if topic(line) == "/tasks/create")
    assert created["container_id"] == "life" and created["pid"] and created["rootfs"]


@pytest.mark.clause("ctr.run")
@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_exit_code_is_the_containers(ctr: Ctr, image: str, code: int) -> None:
    assert ctr.run("run", "--rm", image, f"code-{code}", "sh", "-c", f"exit {code}").code == code


@pytest.mark.clause("ctr.signals")
@pytest.mark.parametrize(("name", "number"), [("KILL", 9), ("TERM", 15), ("USR1", 10)])
def test_a_process_ended_by_a_signal(ctr: Ctr, container: str, name: str, number: int) -> None:
    """Told of an added process; the first one of a pid namespace is deaf to what it does not handle."""
    ended = ctr.run("tasks", "exec", "--exec-id", "hit", container, "sh", "-c", f"kill -{name} $$")
    assert ended.code == 128 + number


@pytest.mark.clause("ctr.signals")
def test_a_container_that_is_killed(ctr: Ctr, container: str) -> None:
    ctr("tasks", "kill", "--signal", "KILL", container)
    ctr.wait_stopped(container)
    assert "exit code 137" in ctr.run("tasks", "rm", container).err


@pytest.mark.clause("ctr.run")
def test_much_output_arrives_whole_and_in_order(ctr: Ctr, image: str) -> None:
    ended = ctr.run("run", "--rm", image, "much", "sh", "-c", "seq 1 200000; seq 1 1000 >&2")
    assert ended.out.split() == [str(number) for number in range(1, 200001)]
    assert ended.err.split() == [str(number) for number in range(1, 1001)]


@pytest.mark.clause("ctr.run")
def test_a_process_that_outlives_the_first_one_ends_with_it(ctr: Ctr, image: str) -> None:
    ended = ctr.run("run", "--rm", image, "orphan", "sh", "-c", "sleep 1000 & echo begun")
    assert (ended.code, ended.out) == (0, "begun\n")


@pytest.mark.clause("ctr.terminal")
def test_a_terminal_has_the_callers_size_and_takes_keys(ctr: Ctr, image: str) -> None:
    sized = 'until [ "$(stty size)" = "33 101" ]; do sleep 0.05; done'  # ctr tells it when the program runs
    script = f"tty; {sized}; stty size; read x; echo got $x"
    pid, terminal = pty.fork()
    if pid == 0:
        command = ctr.command("run", "--rm", "--tty", image, "terminal", "sh", "-c", script)
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    said = _read_until(terminal, "101")
    os.write(terminal, b"key\n")
    said += _read_until(terminal, "got key")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert re.search(r"/dev/(pts/0|console)", said) and "33 101" in said, said


def _read_until(terminal: int, text: str) -> str:
    said, end = "", time.monotonic() + patience(30)
    while text not in said and time.monotonic() < end:
        ready, _, _ = select.select([terminal], [], [], 0.5)
        if not ready:
            continue
        try:
            said += os.read(terminal, 65536).decode(errors="replace")
        except OSError:
            break
    return said


@pytest.mark.clause("ctr.exec")
def test_exec_joins_the_containers_namespaces(ctr: Ctr, container: str) -> None:
    ctr("tasks", "exec", "--exec-id", "write", container, "sh", "-c", "echo here > /tmp/x")
    script = "cat /tmp/x; set -- /proc/[0-9]*; echo $#"
    shown = ctr("tasks", "exec", "--exec-id", "read", container, "sh", "-c", script)
    assert shown.split() == ["here", "2"]  # sleep, and the shell that counts


@pytest.mark.clause("ctr.pause")
def test_a_paused_container_does_nothing(ctr: Ctr, image: str, fifos: str) -> None:
    script = "while :; do echo x >> /tmp/written; sleep 0.01; done"
    ctr("run", "--detach", "--fifo-dir", fifos, image, "paused", "sh", "-c", script)
    try:
        pid = ctr("tasks", "ls").splitlines()[1].split()[1]
        written = Path(f"/proc/{pid}/root/tmp/written")
        wait_until(written.exists, "it writes")
        ctr("tasks", "pause", "paused")
        assert "PAUSED" in ctr("tasks", "ls")
        before = written.stat().st_size
        time.sleep(0.2)
        assert written.stat().st_size == before
        ctr("tasks", "resume", "paused")
        wait_until(lambda: written.stat().st_size > before, "it goes on")
    finally:
        ctr.run("tasks", "rm", "--force", "paused")
        ctr.run("containers", "rm", "paused")


@pytest.mark.clause("ctr.exec")
def test_ps_lists_every_process(ctr: Ctr, container: str, fifos: str) -> None:
    ctr("tasks", "exec", "--detach", "--fifo-dir", fifos, "--exec-id", "second", container, "sleep", "999")
    pids = [line.split()[0] for line in ctr("tasks", "ps", container).splitlines()[1:]]
    commands = {Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip() for pid in pids}
    assert commands == {"sleep 1000", "sleep 999"}
    ctr("tasks", "kill", "--exec-id", "second", "--signal", "KILL", container)


@pytest.mark.clause("ctr.gc", "ctr.pull")
def test_an_image_keeps_its_content_and_snapshots_and_no_longer(ctr: Ctr, image: str) -> None:
    other = ctr.within(f"{ctr.namespace}-gc")
    other("images", "pull", "--plain-http", image)
    assert len(other("content", "ls", "--quiet").split()) == 3
    assert len(other("snapshots", "ls").splitlines()) == 2
    other("images", "rm", "--sync", image)
    assert other("content", "ls", "--quiet") == ""
    assert len(other("snapshots", "ls").splitlines()) == 1


@pytest.mark.clause("ctr.gc")
def test_a_containers_snapshot_outlives_its_image(ctr: Ctr, image: str) -> None:
    other = ctr.within(f"{ctr.namespace}-keep")
    other("images", "pull", "--plain-http", image)
    other("containers", "create", image, "keeper", "sh")
    other("images", "rm", "--sync", image)
    assert other("content", "ls", "--quiet") == ""
    assert len(other("snapshots", "ls").splitlines()) == 3
    other("containers", "rm", "keeper")
    other("leases", "create", "--id", "sync")
    other("leases", "delete", "--sync", "sync")
    assert len(other("snapshots", "ls").splitlines()) == 1


@pytest.mark.clause("ctr.diff")
def test_what_a_container_changed_is_a_layer(ctr: Ctr, container: str) -> None:
    script = "echo new > /tmp/new; rm /etc/group; mkdir /home/app/folder"
    ctr("tasks", "exec", "--exec-id", "change", container, "sh", "-c", script)
    layer = subprocess.run(ctr.command("snapshots", "diff", container), capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
        names = {member.name.strip("/") for member in archive.getmembers()}
        new = archive.extractfile("tmp/new")
        assert new is not None and new.read() == b"new\n"
    assert {"etc/.wh.group", "home/app/folder"} <= names
    assert not any(name.startswith("bin") for name in names)
