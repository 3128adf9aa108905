"""What a test left behind: mounts, namespaces, processes, cgroups, folders in /run and /tmp.

The machine may be busy with other things, so only what can be ours is looked at: processes that descend from this
one (it is a subreaper, so orphans come to it), and mounts, cgroups and folders whose path has the session's token.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import time
from pathlib import Path

from .patience import patience

TOKEN = f"conf{os.getpid()}"
"""Part of every container id and folder name of this session."""

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Orphaned descendants are reparented to this process, where they can be seen and reaped."""
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) failed")


def remains(folder: Path | None = None) -> set[str]:
    """Everything of ours that is there now, as readable lines; mounts below *folder* are ours too."""
    return {*_mounts(folder), *_cgroups(), *_processes(), *_folders()}


def new_remains(before: set[str], seconds: float = 3.0, folder: Path | None = None) -> set[str]:
    """What is there now and was not *before*; what goes away by itself gets *seconds* for it."""
    give_up = time.monotonic() + patience(seconds)
    while True:
        reap_zombies()
        left = remains(folder) - before
        if not left or time.monotonic() > give_up:
            return left
        time.sleep(0.02)


def remove_empty_parents(prefix: str = TOKEN) -> None:
    """Remove what runtimes leave of a namespace: its cgroup, and its folder of states. Both must be empty.

    Raises:
        OSError: one is not: a container is still there.
    """
    for pattern in (f"{prefix}*", f"*/{prefix}*"):
        for cgroup in Path("/sys/fs/cgroup").glob(pattern):
            cgroup.rmdir()
    for folder in Path("/run/containerd").glob(f"*runc/{prefix}*"):
        folder.rmdir()


def reap_zombies() -> None:
    """Collect children that have ended; the runtimes left them to us."""
    for pid, state, parent in _table():
        if state == "Z" and parent == os.getpid():
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


def _mounts(folder: Path | None) -> set[str]:
    """Mounts, and namespaces that a mount keeps alive (nsfs), wherever those are but in another run's folder."""
    found = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target, fstype = line.split()[4], line.partition(" - ")[2].split()[0]
        is_below = folder is not None and target.startswith(f"{folder}/")
        if fstype == "nsfs" and (is_below or "/pytest-of-" not in target):
            found.add(f"namespace {target}")
        elif TOKEN in target or is_below:
            found.add(f"mount {target}")
    return found


def _cgroups() -> set[str]:
    return {f"cgroup {path}" for path in cgroups_named(TOKEN)}


def cgroups_named(word: str) -> list[Path]:
    """The cgroups whose own name has *word* in it, each after those below it."""
    walk = os.walk("/sys/fs/cgroup", topdown=False)
    return [Path(folder, name) for folder, names, _ in walk for name in names if word in name]


def _processes() -> set[str]:
    table = _table()
    ours, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, _, parent in table if parent in ours} - ours
        ours |= more
        grown = bool(more)
    return {f"process {pid}: {_command(pid)}" for pid in ours - {os.getpid()} if _command(pid) is not None}


def _folders() -> set[str]:
    temporary = tempfile.gettempdir()
    return {
        *(f"folder {path}" for path in Path("/run").glob(f"*{TOKEN}*")),
        *(f"folder {path}" for path in Path("/run/containerd").glob(f"*/*{TOKEN}*")),
        *(f"folder {temporary}/{name}" for name in os.listdir(temporary) if _is_ours(name)),
    }


def _is_ours(name: str) -> bool:
    return name.startswith("minicontainerd-") and not name.startswith("minicontainerd-vm-")  # guests have own tests


def _table() -> list[tuple[int, str, int]]:
    rows = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                rest = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            rows.append((int(name), rest[0], int(rest[1])))
    return rows


def _command(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
