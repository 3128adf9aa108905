"""Terminals and descriptors: what a program is given to talk through."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from ..patience import patience
from .harness import Container, Failure
from .terminals import Person, size_of

SIZE = "stty size"


@pytest.fixture
def terminal(container: Container) -> Container:
    """A container whose program has a terminal, and whose shell says its size."""
    (container.rootfs / "bin/stty").symlink_to("busybox")
    container.process["terminal"] = True
    container.process["env"].append("TERM=dumb")
    return container


def command(container: Container, *words: str) -> list[str]:
    container.write_config()
    log = str(container.bundle / "person.log")
    return [container.runtime.program, "--root", str(container.runtime.root), "--log", log, *words]


def sized(size: str) -> str:
    """The shell's words to wait until its terminal has *size*, which runc sets when the program runs already."""
    return f'until [ "$({SIZE} 2>/dev/null)" = "{size}" ]; do sleep 0.05; done'


@contextlib.contextmanager
def console(container: Container, *words: str) -> Iterator[int]:
    """The master that arrives at the console socket given to a command."""
    path = container.bundle / "console"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(patience(20))
        container.runtime(*words[:1], "--console-socket", str(path), *words[1:])
        connection, _ = listener.accept()
        with connection:
            _, (master,), _, _ = socket.recv_fds(connection, 4096, 1)
    try:
        yield master
    finally:
        os.close(master)


def read_until(master: int, text: str) -> str:
    """What is shown until *text* is."""
    shown = ""
    while text not in shown:
        shown += os.read(master, 4096).decode()
    return shown


@pytest.mark.clause("config.process.terminal", "cli.run.terminal")
def test_run_in_the_foreground_is_the_callers_terminal(terminal: Container) -> None:
    terminal.shell("tty; echo say; read word; echo you said $word; exit 5")
    with Person(command(terminal, "run", "--bundle", str(terminal.bundle), terminal.id)) as person:
        person.sees("/dev/pts/0")
        person.sees("say")
        person.type("hello\n")
        person.sees("you said hello")
        assert person.leaves() == 5


@pytest.mark.clause("cli.run.terminal-size")
def test_the_size_is_the_callers_and_follows_it(terminal: Container) -> None:
    terminal.shell(f"trap '{SIZE}' WINCH; {sized('31 91')}; echo ready; while :; do sleep 0.1; done")
    with Person(command(terminal, "run", "--bundle", str(terminal.bundle), terminal.id), 31, 91) as person:
        person.sees("ready")
        person.resize(42, 120)
        person.sees("42 120")
        terminal.kill("KILL")
        assert person.leaves() == 137


@pytest.mark.clause("cli.run.terminal-keys")
def test_keys_are_the_containers(terminal: Container) -> None:
    terminal.shell("trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.1; done")
    with Person(command(terminal, "run", "--bundle", str(terminal.bundle), terminal.id)) as person:
        person.sees("ready")
        person.type("\x03")  # Ctrl-C
        person.sees("interrupted")
        assert person.leaves() == 3


@pytest.mark.clause("config.process.console-size")
def test_the_console_has_the_size_of_the_config(terminal: Container) -> None:
    terminal.process["consoleSize"] = {"height": 33, "width": 99}
    terminal.shell(f"{SIZE}; sleep 1000")
    terminal.write_config()
    with console(terminal, "create", "--bundle", str(terminal.bundle), terminal.id) as master:
        assert size_of(master) == (33, 99)
        terminal.runtime("start", terminal.id)
        read_until(master, "33 99")


@pytest.mark.clause("config.process.console-size-ignored")
def test_a_size_without_a_terminal_means_nothing(container: Container) -> None:
    container.process["consoleSize"] = {"height": 33, "width": 99}
    assert container.shell("tty; echo done").run() == "not a tty\ndone\n"


@pytest.mark.clause("cli.exec.terminal")
def test_exec_gives_its_process_a_terminal(terminal: Container) -> None:
    terminal.process["terminal"] = False
    terminal.args("sleep", "1000").create().start()
    script = f"{sized('25 77')}; echo ready; read word; echo $word $(tty); exit 4"
    with Person(command(terminal, "exec", "--tty", terminal.id, "sh", "-c", script), 25, 77) as person:
        person.sees("ready")
        person.type("typed\n")
        person.sees("typed /dev/pts/")
        assert person.leaves() == 4


@pytest.mark.clause("cli.terminal.console-socket", "cli.exec.terminal")
def test_exec_sends_its_terminal_to_a_console_socket(terminal: Container) -> None:
    terminal.process["terminal"] = False
    terminal.args("sleep", "1000").create().start()
    words = ("exec", "--detach", "--tty", terminal.id, "sh", "-c", "echo shown; sleep 1000")
    with console(terminal, *words) as master:
        read_until(master, "shown")


@pytest.mark.clause("cli.terminal.needs-socket")
def test_a_socket_without_a_terminal_is_refused(container: Container) -> None:
    with pytest.raises(Failure):
        container.create("--console-socket", str(container.bundle / "nobody"))


SHOW = 'echo "$LISTEN_FDS|$LISTEN_PID|$LISTEN_FDNAMES"; cat <&3; test -e /proc/self/fd/4 && cat <&4; echo end'


def with_files(container: Container, *words: str, files: int, env: dict[str, str], listener: str = "$$") -> None:
    """Run one command with *files* open from descriptor 3 up, each with its number in it."""
    sources = []
    for number in range(files):
        path = container.bundle / f"file-{number}"
        path.write_text(f"file {number}\n")
        sources.append(f"{3 + number}<{path}")
    line = ["sh", "-c", f'LISTEN_PID={listener} exec "$@" {" ".join(sources)}', "sh", *command(container, *words)]
    with container.output.open("ab") as output:
        subprocess.run(
            line,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **env},
            timeout=patience(30),
            check=True,
        )


@pytest.mark.clause("cli.preserve-fds", "runtime.linux.descriptors.more")
def test_descriptors_that_are_to_be_preserved_are(container: Container) -> None:
    container.shell(SHOW)
    create = ("create", "--bundle", str(container.bundle), "--preserve-fds", "2", container.id)
    with_files(container, *create, files=3, env={})
    container.start().wait("stopped")
    assert container.written() == "||\nfile 0\nfile 1\nend\n"


@pytest.mark.clause("cli.listen-fds", "runtime.linux.descriptors.more")
def test_sockets_of_activation_are_handed_on(container: Container) -> None:
    container.shell(SHOW)
    create = ("create", "--bundle", str(container.bundle), container.id)
    with_files(container, *create, files=3, env={"LISTEN_FDS": "2"})
    container.start().wait("stopped")
    assert container.written() == "2|1|\nfile 0\nfile 1\nend\n"


@pytest.mark.clause("cli.listen-fds")
def test_names_of_sockets_are_handed_on(container: Container) -> None:
    container.shell(SHOW)
    create = ("create", "--bundle", str(container.bundle), container.id)
    with_files(container, *create, files=2, env={"LISTEN_FDS": "2", "LISTEN_FDNAMES": "one:two"})
    container.start().wait("stopped")
    assert container.written().startswith("2|1|one:two\n")


@pytest.mark.clause("cli.listen-fds")
def test_sockets_that_were_given_to_somebody_else_are_not_handed_on(container: Container) -> None:
    container.shell('echo "$LISTEN_FDS|$LISTEN_PID"; test -e /proc/self/fd/3 || echo none')
    create = ("create", "--bundle", str(container.bundle), container.id)
    with_files(container, *create, files=2, env={"LISTEN_FDS": "2"}, listener="1")
    container.start().wait("stopped")
    assert container.written() == "|\nnone\n"


@pytest.mark.clause("cli.preserve-fds")
def test_exec_hands_descriptors_on_too(running: Container) -> None:
    running.output.write_text("")
    exec = ("exec", "--preserve-fds", "2", running.id, "sh", "-c", SHOW)
    with_files(running, *exec, files=3, env={})
    assert running.written().endswith("file 0\nfile 1\nend\n")
