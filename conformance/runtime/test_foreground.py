"""``run`` and ``exec`` that stay: the program's standard streams are not the caller's own, but what it says arrives."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from pathlib import Path

import pytest

from ..patience import patience
from .harness import Container


def words(container: Container, *command: str) -> list[str]:
    """The command line that has *command* run in *container*, by ``exec`` in the one that sleeps."""
    container.args("sleep", "1000").create().start()
    return [*container.runtime.words(container.bundle / "log"), "exec", "--user", "1000", container.id, *command]


@pytest.mark.clause("cli.foreground.streams")
def test_the_callers_file_stays_the_callers(container: Container, tmp_path: Path) -> None:
    with open(tmp_path / "said", "wb") as file:
        command = words(container, "sh", "-c", "echo one > /dev/stdout; echo two >> /dev/stdout; echo three")
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, timeout=patience(30), check=True)
    assert (tmp_path / "said").read_text() == "one\ntwo\nthree\n"
    assert (tmp_path / "said").stat().st_uid == os.geteuid()


@pytest.mark.clause("cli.foreground.streams")
def test_the_callers_terminal_is_not_the_programs(container: Container) -> None:
    master, slave = pty.openpty()
    command = words(container, "sh", "-c", "test -t 0 || test -t 1 || test -t 2 || echo none")
    subprocess.run(command, stdin=slave, stdout=slave, stderr=slave, timeout=patience(30), check=True)
    assert select.select([master], [], [], 0)[0] and os.read(master, 100) == b"none\r\n"
    assert os.fstat(slave).st_uid == os.geteuid()
    os.close(master)
    os.close(slave)


@pytest.mark.clause("cli.foreground.copies")
def test_much_goes_in_and_out(container: Container) -> None:
    text = "".join(f"line {number}\n" for number in range(50_000))
    command = words(container, "sh", "-c", "cat; echo end >&2")
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=patience(30), check=True)
    assert (done.stdout, done.stderr) == (text, "end\n")


@pytest.mark.clause("cli.foreground.copies")
def test_input_need_not_end(container: Container) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"line\n")
    command = words(container, "sh", "-c", "read x; echo $x; exit 4")
    done = subprocess.run(command, stdin=reader, stdout=subprocess.PIPE, timeout=patience(30))
    assert (done.returncode, done.stdout) == (4, b"line\n")
    os.close(reader)
    os.close(writer)


@pytest.mark.clause("cli.foreground.copies")
def test_input_arrives_when_there_is_no_output_any_more(container: Container) -> None:
    command = words(container, "sh", "-c", "exec > /tmp/kept 2>&1; cat")
    subprocess.run(command, input=b"line\n" * 20_000, timeout=patience(30), check=True)
    assert (container.rootfs / "tmp/kept").read_bytes() == b"line\n" * 20_000


@pytest.mark.clause("cli.foreground.copies")
def test_who_is_no_longer_heard_is_told(container: Container) -> None:
    with subprocess.Popen(
        words(container, "sh", "-c", "while :; do echo yes; done"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as command:
        assert command.stdout
        command.stdout.read(10)
        command.stdout.close()
        assert command.wait(patience(30)) == 128 + 13  # SIGPIPE


@pytest.mark.clause("cli.foreground.waits")
def test_what_outlives_its_process_is_heard_to_the_end(container: Container) -> None:
    command = words(container, "sh", "-c", "(sleep 0.5; echo late) & echo early")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=patience(30))
    assert (done.returncode, done.stdout) == (0, b"early\nlate\n")


@pytest.mark.clause("cli.foreground.streams", "cli.foreground.copies", "cli.run.status")
def test_run_does_so_too(container: Container, tmp_path: Path) -> None:
    container.process["user"] = {"uid": 1000, "gid": 1000}
    container.shell("read x; echo $x > /dev/stdout; exit 3").write_config()
    command = [*container.runtime.words(container.bundle / "log"), "run", "--bundle", str(container.bundle)]
    with open(tmp_path / "said", "wb") as file:
        done = subprocess.run([*command, container.id], input=b"word\n", stdout=file, timeout=patience(30))
    assert (done.returncode, (tmp_path / "said").read_text()) == (3, "word\n")
    assert (tmp_path / "said").stat().st_uid == os.geteuid()
