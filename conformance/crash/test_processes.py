"""Each of our processes killed by itself, or started where another is already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .. import leaks
from ..peers import Ctr
from .consistency import contradictions
from .daemon import Mortal

PROGRAM = str(Path(sys.executable).parent / "containerd-shim-mini-v2")


@pytest.fixture
def daemon(folder: Path, image: str) -> Iterator[Mortal]:
    daemon = Mortal(folder)
    daemon.start()
    ctr = daemon.ctr.within(leaks.TOKEN)
    ctr("images", "pull", "--plain-http", image)
    yield daemon
    for id in ctr("containers", "ls", "--quiet").split():
        ctr.run("tasks", "rm", "--force", id)
        ctr("containers", "rm", id)
    ctr("images", "rm", "--sync", image)
    daemon.stop()


@pytest.fixture
def ctr(daemon: Mortal) -> Ctr:
    return daemon.ctr.within(leaks.TOKEN)


def children(pid: int) -> dict[int, str]:
    """The command lines of a process's children."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if parent == pid:
                found[int(entry.name)] = words
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until *condition* holds; orphans are reaped meanwhile, as process 1 would."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it does not happen"
        leaks.reap_zombies()
        time.sleep(0.02)


def zygote(daemon: Mortal) -> int:
    (pid,) = [pid for pid, words in children(daemon.pid).items() if words.strip().endswith("zygote")]
    return pid


@pytest.mark.clause("mini.zygote")
def test_a_zygote_that_is_killed_is_started_again(daemon: Mortal, ctr: Ctr, image: str) -> None:
    first = zygote(daemon)
    assert ctr("run", "--rm", image, "before", "true") == ""
    os.kill(first, signal.SIGKILL)
    assert ctr("run", "--rm", image, "after", "true") == ""
    assert zygote(daemon) != first


@pytest.mark.clause("mini.zygote")
def test_shims_share_the_zygotes_memory_and_look_like_shims(daemon: Mortal, ctr: Ctr, image: str) -> None:
    ctr("run", "--detach", "--null-io", image, "sleeps", "sleep", "1000")
    shim = shim_of(ctr, "sleeps")
    words = Path(f"/proc/{shim}/cmdline").read_bytes().replace(b"\0", b" ").decode().split()
    assert words[0] == "containerd-shim-mini-v2" and words[-1] == "start" and "sleeps" in words
    lines = Path(f"/proc/{shim}/smaps_rollup").read_text().splitlines()[1:]
    memory = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    assert memory["Private_Dirty"] + memory["Private_Clean"] < memory["Rss"] / 2


def shim_of(ctr: Ctr, id: str) -> int:
    """A container's shim is its first process's parent."""
    (pid,) = [int(line.split()[1]) for line in ctr("tasks", "ls").splitlines() if line.split()[0] == id]
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.clause("mini.shim")
def test_a_shim_that_is_killed_takes_its_container_along(daemon: Mortal, ctr: Ctr, image: str, folder: Path) -> None:
    ctr("run", "--detach", "--null-io", image, "dies", "sleep", "1000")
    ctr("run", "--detach", "--null-io", image, "lives", "sleep", "1000")
    with open(folder / "events", "wb") as told:
        events = subprocess.Popen(ctr.command("events"), stdout=told)
        try:
            wait_for(lambda: is_told(ctr, folder / "events"))
            os.kill(shim_of(ctr, "dies"), signal.SIGKILL)
            wait_for(lambda: "/tasks/delete" in (folder / "events").read_text())
        finally:
            events.terminate()
            events.wait()
    exits = [line for line in (folder / "events").read_text().splitlines() if "/tasks/exit" in line]
    assert len(exits) == 1 and '"exit_status":137' in exits[0] and '"container_id":"dies"' in exits[0]
    assert [line.split()[0] for line in ctr("tasks", "ls").splitlines()[1:]] == ["lives"]
    wait_for(lambda: contradictions(daemon.root, daemon.state, ctr) == [])
    ctr("tasks", "start", "--detach", "--null-io", "dies")  # and its container can be started again


def is_told(ctr: Ctr, file: Path) -> bool:
    """Whether ``ctr events`` has subscribed: something was done, and it heard of it."""
    ctr("namespaces", "label", leaks.TOKEN, f"told={time.monotonic_ns()}")
    return "/namespaces/update" in file.read_text()


@pytest.mark.clause("mini.shim")
def test_a_shim_that_everybody_forgot_ends_by_itself(folder: Path) -> None:
    bundle = folder / "forgotten"
    bundle.mkdir()
    (bundle / "config.json").write_text("{}")
    flags = ["-namespace", leaks.TOKEN, "-address", str(folder / "nobody"), "-publish-binary", "", "-id", "forgotten"]
    started = subprocess.run([PROGRAM, *flags, "start"], cwd=bundle, capture_output=True, text=True, check=True)
    socket = Path(started.stdout.removeprefix("unix://"))
    assert socket.exists() and (bundle / "address").read_text() == started.stdout
    wait_for(lambda: not socket.exists(), seconds=60)


@pytest.mark.clause("mini.faults")
def test_two_daemons_never_share_a_folder(daemon: Mortal, folder: Path) -> None:
    program = str(Path(sys.executable).parent / "minicontainerd")
    other = ["--address", str(folder / "other"), "--state", str(folder / "other-state"), "--root", str(daemon.root)]
    done = subprocess.run([program, *other], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"{daemon.root} is in use by another daemon (pid {daemon.pid})" in done.stderr
    assert daemon.ctr.works()
