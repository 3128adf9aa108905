"""SIGKILL of the daemon at random moments, while clients pull, run, execute and delete.

Each client does what a person would who finds that the daemon was away: it looks how far it got, and goes on from
there. It is never told a wrong exit code, and nothing that it had been told is gone.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from minicontainerd.client.client import Client
from minicontainerd.errors import ContainerdError, NotFound

from .. import leaks
from ..peers import Ctr
from .consistency import contradictions
from .daemon import Mortal

T = TypeVar("T")

PATIENCE = 90
"""Seconds within which a client must get one step done, however often the daemon dies meanwhile."""

CREATED, STOPPED = 1, 3  # containerd.v1.types.Status


class Load(threading.Thread):
    """One client that does *work* again and again until it is told to stop; an error in it is kept for the test."""

    def __init__(self, daemon: Mortal, image: str, work: Callable[[Load, int], None]) -> None:
        super().__init__(name=work.__name__, daemon=True)
        self.ctr: Ctr = daemon.ctr.within(leaks.TOKEN)
        self.image = image
        self.address = str(daemon.ctr.address)
        self.fifos = str(daemon.ctr.address.parent / "fifo")  # ctr does not remove them when its daemon dies
        self.rounds = 0
        self.error: Exception | None = None
        self._work = work
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                self._work(self, self.rounds)
                self.rounds += 1
        except Exception as error:
            self.error = error

    def finish(self) -> None:
        """End after the round that is going on.

        Raises:
            Exception: whatever went wrong in it.
        """
        self._stop_asked.set()
        self.join()
        if self.error is not None:
            raise self.error

    def attempt(self, *words: str) -> tuple[int, str]:
        """Run a command, which may fail, or wait for a daemon that is no more: status, and what it said of that."""
        try:
            done = self.ctr.run(*words, seconds=10)
        except subprocess.TimeoutExpired:
            return -1, "cut off"
        return done.code, done.err

    def until(self, done: Callable[[], bool], *words: str) -> None:
        """Run the command *words* until *done*, however often that takes."""
        give_up = time.monotonic() + PATIENCE
        said = ""
        while not self.ask(done):
            assert time.monotonic() < give_up, f"{words} does not get done: {said}"
            said = self.attempt(*words)[1] if words else ""
            time.sleep(0.01)

    def ask(self, question: Callable[[], T]) -> T:
        """What *question* answers, asked until the daemon does."""
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                return question()
            except (ContainerdError, RuntimeError):
                assert time.monotonic() < give_up, "the daemon does not answer"
                time.sleep(0.02)

    def has(self, what: str, id: str) -> bool:
        return id in self.ctr(what, "ls", "--quiet").split()

    def task(self, id: str) -> tuple[int, int]:
        """The status and the exit status of a task; (0, 0) if there is none."""
        with Client(self.address, leaks.TOKEN, timeout=5) as client:
            try:
                process = client.tasks.get(id)
            except NotFound:
                return 0, 0
            return process.status, process.exit_status


def lives(load: Load, round: int) -> None:
    """A container from beginning to end; its exit code is what its program said."""
    id, code = f"{threading.get_ident() % 1000}-{round}", round % 100 + 1

    def exists() -> bool:
        if load.has("containers", id):
            return True
        load.attempt("snapshots", "rm", id)  # of a create that was cut in two
        return False

    def has_started() -> bool:
        status, _ = load.task(id)
        if status == CREATED:  # the daemon died before it could be started
            load.until(lambda: not load.has("tasks", id), "tasks", "rm", "--force", id)
        return status > CREATED

    def has_ended() -> bool:
        status, _ = load.task(id)
        assert status, f"task {id} was running, and is gone"
        return status == STOPPED

    load.until(exists, "containers", "create", load.image, id, "end", str(code))
    load.until(has_started, "tasks", "start", "--detach", "--null-io", id)
    load.until(has_ended)
    assert load.ask(lambda: load.task(id)) == (STOPPED, code)
    load.until(lambda: not load.has("tasks", id), "tasks", "rm", id)
    load.until(lambda: not load.has("containers", id), "containers", "rm", id)


def executes(load: Load, round: int) -> None:
    """One more process in the container that lives through it all."""
    code, said = load.attempt(
        "tasks", "exec", "--fifo-dir", load.fifos, "--exec-id", f"e{round}", "survivor", "end", "7"
    )
    assert code in (7, 1, -1), f"the program said 7, the client was told {code}: {said}"


def pulls(load: Load, round: int) -> None:
    """The image under another name, there and away again."""
    name = load.image.replace("tiny:1", "tiny:2")
    load.until(lambda: load.has("images", name), "images", "pull", "--plain-http", name)
    load.until(lambda: not load.has("images", name), "images", "rm", name)


@pytest.mark.clause("mini.storm")
def test_the_daemon_is_killed_and_killed_again(daemon: Mortal, image: str, pytestconfig: pytest.Config) -> None:
    ctr = daemon.ctr.within(leaks.TOKEN)
    ctr("images", "pull", "--plain-http", image)
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]
        + [f"docker://{name}" for name in (image, image.replace("tiny:1", "tiny:2"))],
        check=True,
    )
    ctr("run", "--detach", "--null-io", image, "survivor", "sleep", "100000")
    survivor = ctr("tasks", "ls").splitlines()[1].split()
    loads = [Load(daemon, image, work) for work in (lives, lives, executes, pulls)]
    for load in loads:
        load.start()
    for _ in range(int(pytestconfig.getoption("--kills"))):
        time.sleep(random.uniform(0.05, 1))
        daemon.kill()
        daemon.start()
        assert [load.error for load in loads] == [None] * len(loads)
    for load in loads:
        load.finish()
    print({load.name: load.rounds for load in loads})
    assert ctr("tasks", "ls").splitlines()[1].split() == survivor
    ctr("tasks", "kill", "--signal", "KILL", "survivor")
    ctr.wait_stopped("survivor")
    assert "exit code 137" in ctr.run("tasks", "rm", "survivor").err
    ctr("containers", "rm", "survivor")
    for lease in ctr("leases", "ls", "--quiet").split():
        ctr("leases", "rm", lease)
    ctr("images", "rm", "--sync", image)
    assert contradictions(daemon.root, daemon.state, ctr) == []
    assert [ctr(what, "ls").splitlines()[1:] for what in ("tasks", "containers", "images", "snapshots")] == [[]] * 4
    assert list((daemon.root / "content/blobs/sha256").iterdir()) == []
