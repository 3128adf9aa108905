"""Power cuts: a guest at work is killed at a random moment, and another looks at what is on its disk.

The disk is a file that QEMU opens without the host's cache, and lives through all cuts; so what the guest never
asked to be kept is lost with the guest's memory. After each cut ``minicontainerd check`` must find nothing, and what
was acknowledged must be there. ``--cuts`` says how often, ``--seed`` which moments.
"""

from __future__ import annotations

import hashlib
import random
import tarfile
import threading
import time
from pathlib import Path

import pytest

from vm.machine import Hang, Machine, QemuFailed

from .. import images
from .promises import broken_promises

IMAGES = 6
REGISTRY = "127.0.0.1:5000"
ROOT, SOCKET = "/disk/root", "/run/power.sock"
DAEMON = f"--config /dev/null --root {ROOT} --state /run/power --address {SOCKET}"
SYNCED, UNSYNCED = "minicontainerd", "python -m conformance.power.unsynced"


def prepare(machine: Machine, folder: Path) -> None:
    """Bring a booted guest to where each turn begins: a registry that has the images."""
    with images.writing() as (archive, shared):
        images.add(archive, "shared", data=random.Random("shared").randbytes(300_000))
        for name in ("bin", "dev", "etc", "proc", "sys", "run"):
            images.add(archive, name, tarfile.DIRTYPE, 0o755)
        images.add(archive, "bin/busybox", data=Path("/bin/busybox").read_bytes(), mode=0o755)
    for number in range(IMAGES):
        with images.writing() as (archive, own):
            images.add(archive, f"file-{number}", data=random.Random(number).randbytes(300_000))
        images.write_layout(folder / str(number), [shared.getvalue(), own.getvalue()], "it")
    machine.copy_in(folder, "/tmp/layouts")
    config = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: /tmp/registry}}}}\nhttp: {{addr: {REGISTRY}}}\n"
    machine.succeed(f"printf '{config}' > /tmp/registry.yml")
    machine.succeed("docker-registry serve /tmp/registry.yml < /dev/null > /tmp/registry.log 2>&1 &")
    for number in range(IMAGES):
        source, target = f"oci:/tmp/layouts/{number}:it", f"docker://{REGISTRY}/image:{number}"
        machine.wait_until_succeeds(f"skopeo copy -q --dest-tls-verify=false {source} {target}")


class Unusable(AssertionError):
    """What is on the disk was no good to the daemon, or to a container."""


class Turns:
    """One disk, and the guests that come and go before it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.disk = folder / "disk.raw"
        self.random = random.Random(seed)
        self.lines: list[str] = []

    def guest(self) -> Machine:
        def ready(machine: Machine) -> None:
            prepare(machine, self.folder / "layouts")

        name = f"power-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]}"
        return Machine.restored(name, ready, source=True, data=self.disk, data_cache="none")

    def cut(self, daemon: str, turn: int) -> None:
        """Let a guest work, and cut its power a random while after a random number of acknowledgements."""
        acts, while_ = self.random.randint(1, 12), self.random.uniform(0, 1.5)
        with self.guest() as machine:
            machine.succeed("blkid /dev/vdc || mke2fs -q -t ext4 /dev/vdc; mkdir -p /disk && mount /dev/vdc /disk")
            machine.succeed(f". /root/.profile; {daemon} {DAEMON} < /dev/null > /tmp/daemon.log 2>&1 &")
            timer: list[threading.Timer] = []

            def line(text: str) -> None:
                self.lines.append(text)
                if text.split()[0] in ("is", "gone") and len(self.lines) > start + 2 * acts and not timer:
                    timer.append(threading.Timer(while_, machine.power_cut))
                    timer[0].start()

            start = len(self.lines)
            command = f"python -m conformance.power.workload {SOCKET} {REGISTRY} {IMAGES} {turn}"
            try:
                ended = machine.run(f". /root/.profile; {command}", line=line)
            except (Hang, QemuFailed):
                assert timer, "the guest ended before its power was cut"
            else:
                log = machine.succeed("tail -n 20 /tmp/daemon.log")
                raise Unusable(f"the workload ended by itself: {ended.err}\n{log}")
            timer[0].join()

    def look(self) -> list[str]:
        """What is wrong on the disk; empty if nothing."""
        with self.guest() as machine:
            machine.succeed("mkdir -p /disk && mount /dev/vdc /disk")
            checked = machine.run(f". /root/.profile; minicontainerd {DAEMON} check")
            listed = machine.run(f". /root/.profile; python -m conformance.power.promises {ROOT}")
            machine.run("umount /disk")
        wrong = broken_promises(self.lines, set(listed.out.splitlines()))
        return wrong if checked.code == 0 else [checked.out + checked.err, *wrong]


@pytest.fixture
def turns(tmp_path: Path, pytestconfig: pytest.Config) -> Turns:
    return Turns(tmp_path, int(pytestconfig.getoption("--seed")))


@pytest.mark.clause("store.power.nothing-lost", "store.power.nothing-corrupt")
def test_nothing_acknowledged_is_lost_and_nothing_is_corrupt(turns: Turns, pytestconfig: pytest.Config) -> None:
    for turn in range(int(pytestconfig.getoption("--cuts"))):
        started = time.monotonic()
        turns.cut(SYNCED, turn)
        wrong = turns.look()
        print(f"cut {turn}: {len(turns.lines)} lines so far, {time.monotonic() - started:.0f} s")
        assert not wrong, "\n".join([f"after cut {turn}, seed {pytestconfig.getoption('--seed')}:", *wrong])


@pytest.mark.clause("store.power.nothing-lost")
def test_without_syncing_the_same_cuts_do_harm(turns: Turns) -> None:
    """Which proves that the test above can see it."""
    for turn in range(5):
        try:
            turns.cut(UNSYNCED, turn)
            wrong = turns.look()
        except Unusable as reason:
            if turn == 0:  # before the first cut there is nothing that can be wrong
                raise
            wrong = [str(reason)]
        if wrong:
            print("\n".join([f"cut {turn}, nothing synced:", *wrong]))
            return
    raise AssertionError("five cuts did no harm to a store that syncs nothing: this test sees nothing")
