"""Every privileged act of every operation, made to fail, and made to be the last that its process does.

For each point: the operation runs into it; a daemon that died of it is started again; then what is on disk agrees
with itself, what was acknowledged before is still there, and the operation, repeated, succeeds.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .. import leaks
from ..peers import Ctr
from .consistency import contradictions
from .daemon import Mortal

SECONDS = 30
"""How long a command may take that ran into a fault, and the daemon to put things in order."""

PULL = "images pull --plain-http IMAGE"
CREATE = "containers create IMAGE c sleep 1000"
START = "tasks start --detach --null-io c"
MINIRUNC = str(Path(sys.executable).parent / "minirunc")
KILL = "tasks kill --signal KILL c"
END = ("tasks rm --force c", "containers rm c", "snapshots rm c")


@dataclass(frozen=True)
class Operation:
    """*act* is broken, after *before*; *undo* may fail, and leaves the daemon as it was before *before*."""

    name: str
    before: tuple[str, ...]
    act: str
    undo: tuple[str, ...]
    keeps: tuple[str, ...] = ()  # commands whose output must be the same after the fault as before

    def __str__(self) -> str:
        return self.name


IMAGES, CONTAINERS = "images ls --quiet", "containers ls --quiet"
OPERATIONS = [
    Operation("pull", (), PULL, ("images rm --sync IMAGE",)),
    Operation("create", (PULL,), CREATE, END, (IMAGES,)),
    Operation("start", (PULL, CREATE), START, END, (IMAGES, CONTAINERS)),
    Operation("run by a command", (PULL,), f"run --detach --null-io --runc-binary {MINIRUNC} IMAGE c sleep 1000", END),
    Operation(
        "exec", (PULL, CREATE, START), "tasks exec --fifo-dir FIFOS --exec-id e c true", END, (IMAGES, CONTAINERS)
    ),
    Operation("kill", (PULL, CREATE, START), KILL, END, (IMAGES, CONTAINERS)),
    Operation("delete", (PULL, CREATE, START, KILL, "WAIT"), "tasks rm c", END, (IMAGES, CONTAINERS)),
    Operation("remove", (PULL, CREATE), "containers rm c", END, (IMAGES,)),
    Operation("commit", (PULL, "snapshots prepare k"), "snapshots commit n k", ("snapshots rm k", "snapshots rm n")),
    Operation("gc", (PULL, CREATE, "containers rm c"), "images rm --sync IMAGE", (PULL, "images rm --sync IMAGE")),
]


class Plan:
    """The files of linux/faults.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "faults"
        self.folder.mkdir()
        self.acts, self._plan = self.folder / "acts", self.folder / "plan"
        self.acts.touch()
        self._plan.touch()

    def arm(self, point: int, action: str) -> None:
        """From now on count; at *point*, *action*."""
        self.acts.write_text("")
        self._plan.write_text(f"{point} {action}")

    def disarm(self, point: int) -> str:
        """Count no more; the act that was at *point*, empty if it was never reached."""
        self._plan.write_text("")
        lines = self.acts.read_text().splitlines()
        return lines[point - 1].split()[-1] if len(lines) >= point else ""


@pytest.fixture
def plan(folder: Path) -> Plan:
    return Plan(folder)


@pytest.fixture
def daemon(folder: Path, image: str, plan: Plan) -> Iterator[Mortal]:
    daemon = Mortal(folder, {"MINICONTAINERD_FAULTS": str(plan.folder)})
    daemon.start()
    yield daemon
    daemon.stop()


class Walk:
    """One operation, from point to point."""

    def __init__(self, daemon: Mortal, plan: Plan, image: str, operation: Operation) -> None:
        self.daemon, self.plan, self.image, self.operation = daemon, plan, image, operation
        self.ctr: Ctr = daemon.ctr.within(leaks.TOKEN)

    def words(self, command: str) -> list[str]:
        fifos = str(self.ctr.address.parent / "fifo")  # ctr does not remove them when its daemon dies
        return command.replace("IMAGE", self.image).replace("FIFOS", fifos).split()

    def run(self, command: str, *, strict: bool = True) -> None:
        if command == "WAIT":
            self.ctr.wait_stopped("c")
            return
        done = self.ctr.run(*self.words(command), seconds=SECONDS)
        assert not strict or done.code == 0, f"{command}: {done.err}"

    def run_into_fault(self, command: str) -> bool:
        """Run *command*, however it ends; a daemon that dies of it is started at once, for ctr may wait for it."""
        words = self.ctr.command(*self.words(command))
        null = subprocess.DEVNULL
        with subprocess.Popen(words, stdin=null, stdout=null, stderr=null) as client:
            give_up = time.monotonic() + SECONDS
            while client.poll() is None:
                if self.daemon.is_dead:
                    self.daemon.start()
                leaks.reap_zombies()  # as process 1 would: orphans come to us
                if time.monotonic() > give_up:
                    client.kill()
                    return False
                time.sleep(0.005)
        if self.daemon.is_dead:
            self.daemon.start()
        return True

    def undo(self) -> None:
        for command in self.operation.undo:
            self.run(command, strict=False)
        for lease in self.ctr("leases", "ls", "--quiet").split():
            self.ctr("leases", "rm", "--sync", lease)

    def before(self) -> None:
        for command in self.operation.before:
            self.run(command)

    def kept(self) -> list[str]:
        return [self.ctr(*command.split()) for command in self.operation.keeps]

    def break_at(self, point: int, action: str) -> bool:
        """Run into the fault at *point*; False if there is none any more."""
        self.before()
        kept = self.kept()
        self.plan.arm(point, action)
        answered = self.run_into_fault(self.operation.act)
        act = self.plan.disarm(point)
        where = f"{action} at point {point}, {act}, of {self.operation}"
        assert answered, f"ctr waits for ever: {where}"
        assert self.settle() == [], where
        assert self.kept() == kept, where
        self.undo()
        self.before()
        try:
            self.run(self.operation.act)
        except AssertionError as error:
            raise AssertionError(f"{where}, then again: {error}") from None
        self.undo()
        return bool(act)

    def settle(self) -> list[str]:
        """What is still contradictory when the daemon has had its time."""
        give_up = time.monotonic() + SECONDS
        while True:
            leaks.reap_zombies()
            if self.daemon.is_dead:  # of something that it did when the client had its answer
                self.daemon.start()
            try:
                found = contradictions(self.daemon.root, self.daemon.state, self.ctr)
            except RuntimeError as error:
                found = [str(error)]
            if not found or time.monotonic() > give_up:
                return found
            time.sleep(0.05)


@pytest.mark.clause("mini.faults")
@pytest.mark.parametrize("action", ["die", "ENOSPC"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_each_point(
    daemon: Mortal, plan: Plan, image: str, operation: Operation, action: str, pytestconfig: pytest.Config
) -> None:
    walk = Walk(daemon, plan, image, operation)
    every = int(pytestconfig.getoption("--every"))
    point = random.randrange(every) + 1
    while walk.break_at(point, action):
        point += every
    walk.run("images rm --sync IMAGE", strict=False)
    print(f"{operation}: {point - every} points or a few more")
