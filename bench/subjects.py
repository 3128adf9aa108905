"""What is measured. Each function is a row or two of the table, and leaves both daemons as it found them."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conformance.peers import Ctr

from .series import Row, alternate, milliseconds


class Party:
    """One of the two daemons: *ctr* to ask it, *mark* to keep its container ids apart (they share cgroups)."""

    def __init__(self, ctr: Ctr, mark: str) -> None:
        self.ctr = ctr
        self.mark = mark


Parties = tuple[Party, Party]
"""containerd, and ours."""


def _row(name: str, parties: Parties, work: Callable[[Party, int], float], rounds: int, target: float | None) -> Row:
    theirs, ours = alternate([functools.partial(work, party) for party in parties], rounds)
    return Row(name, "ms", theirs, ours, target)


def run(parties: Parties, image: str, rounds: int) -> Row:
    """``ctr run --rm`` of a program that does nothing: a container's whole life."""

    def once(party: Party, number: int) -> float:
        return milliseconds(lambda: party.ctr("run", "--rm", image, f"{party.mark}-{number}", "true"))

    return _row("ctr run --rm", parties, once, rounds, 0.6)


def execute(parties: Parties, image: str, rounds: int) -> Row:
    """One more process in a container that runs."""

    def once(party: Party, number: int) -> float:
        words = ("tasks", "exec", "--exec-id", f"e{number}", f"{party.mark}-sleeps", "true")
        return milliseconds(lambda: party.ctr(*words))

    with sleeping(parties, image):
        return _row("ctr tasks exec", parties, once, rounds, 0.6)


def pull(parties: Parties, name: str, image: str, rounds: int, target: float | None) -> Row:
    """An image from a registry on loopback into the store, unpacked; and removed again, which is not counted."""

    def once(party: Party, number: int) -> float:
        taken = milliseconds(lambda: party.ctr("images", "pull", "--plain-http", image))
        party.ctr("images", "rm", "--sync", image)
        return taken

    return _row(name, parties, once, rounds, target)


def crowd(parties: Parties, image: str, size: int, rounds: int, target: float | None) -> Row:
    """Many containers started at once, by as many clients, until the last of them is running."""

    def once(party: Party, number: int) -> float:
        ids = [f"{party.mark}-{number}-{each}" for each in range(size)]
        commands = [party.ctr.command("run", "--detach", "--null-io", image, id, "sleep", "1000") for id in ids]
        taken = milliseconds(lambda: _all_at_once(commands))
        _all_at_once([party.ctr.command("tasks", "rm", "--force", id) for id in ids], may_fail=True)
        party.ctr("containers", "rm", *ids)
        return taken

    return _row(f"{size} containers at once", parties, once, rounds, target)


def _all_at_once(commands: list[list[str]], *, may_fail: bool = False) -> None:
    null = subprocess.DEVNULL
    processes = [subprocess.Popen(command, stdout=null, stderr=null) for command in commands]
    codes = [process.wait() for process in processes]
    if any(codes) and not may_fail:
        raise RuntimeError(f"{sum(map(bool, codes))} of {len(codes)} failed: {' '.join(commands[0])}")


def memory(parties: Parties, image: str) -> list[Row]:
    """What an idle daemon holds, and what one more shim costs."""
    daemons = [_memory(party.ctr.pid) for party in parties]
    # Two, for with one alone the pages of containerd's shim's program would seem to be its own.
    with sleeping(parties, image), sleeping(parties, image, "too"):
        shims = [_memory(_shim(party)) for party in parties]

    def row(name: str, values: list[dict[str, float]], key: str, limit: float | None = None) -> Row:
        return Row(name, "MB", (values[0][key],), (values[1][key],), limit=limit)

    return [
        row("idle daemon, resident", daemons, "Rss", 80),
        row("one shim, private", shims, "Private", 5),
        row("one shim, resident", shims, "Rss"),
    ]


@contextmanager
def sleeping(parties: Parties, image: str, name: str = "sleeps") -> Iterator[None]:
    """A container that sleeps, in each daemon."""
    for party in parties:
        party.ctr("run", "--detach", "--null-io", image, f"{party.mark}-{name}", "sleep", "100000")
    yield
    for party in parties:
        party.ctr.run("tasks", "rm", "--force", f"{party.mark}-{name}")
        party.ctr("containers", "rm", f"{party.mark}-{name}")


def _shim(party: Party) -> int:
    """The shim is its container's parent."""
    rows = [line.split() for line in party.ctr("tasks", "ls").splitlines()]
    (pid,) = [int(row[1]) for row in rows if row[0] == f"{party.mark}-sleeps"]
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _memory(pid: int) -> dict[str, float]:
    """Megabytes (10^6 bytes) that a process has in memory, and of these the ones that nobody shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines}
    return {"Rss": found["Rss"], "Private": found["Private_Clean"] + found["Private_Dirty"]}
