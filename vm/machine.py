"""A machine, from boot to power cut, and the words of a test that uses one.

::

    with Machine.restored() as machine:
        machine.succeed("stat -f -c %T /sys/fs/cgroup")     'cgroup2fs'

The first start of a recipe boots it, waits until it is idle, and saves memory and disk; every start after that is a
restore: a new difference to the saved disk, and QEMU reading the memory back. Times that a test gives are those of a
host; here, and only here, they are multiplied by how much slower the guest was found to be.

Whatever goes wrong has a name (:class:`CommandFailed`, :class:`DiskFull`, ``Panic``, :class:`Hang`), and comes with
the end of the console and the line that boots the same machine by hand.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vm import host, image, share
from vm.qemu import DATA_GIB, SOURCE_MIB, HostDiskFull, Panic, Qemu, QemuFailed
from vm.recipe import ROOT, Recipe, cache, qemu_version
from vm.ssh import Outcome, Ssh, Unreachable

__all__ = ["CommandFailed", "DiskFull", "Hang", "HostDiskFull", "Machine", "Panic", "QemuFailed"]

BOOT_SECONDS = 180.0
COMMAND_SECONDS = 60.0  # of a host


class CommandFailed(Exception):
    """A command ended otherwise than it should."""


class DiskFull(CommandFailed):
    """A command failed, and one of the guest's disks is full."""


class Hang(Exception):
    """The guest runs, but does not answer."""


class Machine:
    """A guest of *recipe*. Use it as a context manager: it is gone afterwards, with all that was on its root.

    With *source*, the working tree is in it as ``/src``. *data* is a file behind the guest's third disk, which stays;
    *data_cache* how QEMU caches it.
    """

    def __init__(
        self,
        recipe: Recipe | None = None,
        *,
        source: bool = False,
        data: Path | None = None,
        data_cache: str = "writeback",
        tell: image.Tell = print,
    ) -> None:
        self.recipe = recipe or Recipe()
        self.tell = tell
        host.expect_programs()
        image.build(self.recipe, tell)
        self.folder = Path(tempfile.mkdtemp(prefix="minicontainerd-vm-"))
        accelerator, self.how = host.accelerator(self.recipe.folder)
        self.qemu = Qemu(
            self.recipe,
            self.folder,
            accelerator,
            _processors(),
            _free_port(),
            data or self.folder / "data.raw",
            data_cache,
        )
        self.ssh = Ssh(self.qemu.port, self.recipe.folder)
        self.slowdown = 1.0 if accelerator == "kvm" else 20.0
        if not self.qemu.data.exists():
            _sparse(self.qemu.data, DATA_GIB << 30)
        _sparse(self.folder / "source.erofs", SOURCE_MIB << 20)
        self._source = source

    # how it starts

    @classmethod
    def restored(cls, name: str = "idle", prepare: Callable[[Machine], None] | None = None, **options: Any) -> Machine:
        """A machine in the saved state *name*; where there is none yet, *prepare* brings a booted one to it first."""
        machine = cls(**options)
        try:
            with _locked(machine._saved(name)) as saved:
                if not (saved / "state").exists():
                    machine._save_first(name, saved, prepare)
            machine.restore(saved)
        except BaseException:
            machine.close()
            raise
        return machine

    def _saved(self, name: str) -> Path:
        """Where the state *name* is kept: what it depends on is in the folder's name."""
        return cache() / f"{_saved_prefix(self.recipe, self.qemu.accelerator)}-{name}"

    def _save_first(self, name: str, saved: Path, prepare: Callable[[Machine], None] | None) -> None:
        started = time.monotonic()
        self.tell(f"vm: first boot of this machine, by {self.how} ...")
        with Machine(self.recipe, tell=self.tell) as first:
            first.boot()
            first.tell(f"vm: booted in {time.monotonic() - started:.1f} s")
            if prepare:
                prepare(first)
            first.save(saved)
        self.tell(f"vm: saved as {name!r}; {time.monotonic() - started:.1f} s in all")

    def boot(self) -> Machine:
        """Start it from its disk, and wait until it answers."""
        if not (self.folder / "root.qcow2").exists():
            _overlay(self.recipe.folder / "root.ext4", "raw", self.folder / "root.qcow2")
        disk = self._source and share.write_source(self.folder / "source.erofs")
        self.qemu.start()
        with self._explained():
            self._wait_for_console("guest: ready")
            self._connect()
        self._mount_source(disk)
        return self

    def save(self, folder: Path) -> None:
        """Save memory and disk to *folder* and end."""
        reference = host.seconds_of_loop()
        started = time.monotonic()
        self.run(host.LOOP)
        slowdown = max(1.0, (time.monotonic() - started) / reference)
        self.run("sync; echo 3 > /proc/sys/vm/drop_caches; cat /usr/bin/python3 > /dev/null")
        self.ssh.close()
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        self.qemu.ask("stop")
        self.qemu.ask("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.qemu.ask("migrate", uri=f"exec:cat > {shlex.quote(str(part / 'state'))}")
        self.qemu.migrated(120)
        self.qemu.ask("quit")
        if self.qemu.process is not None:
            self.qemu.process.wait(30)
        shutil.move(self.folder / "root.qcow2", part / "root.qcow2")
        (part / "about.json").write_text(json.dumps({"slowdown": slowdown, "how": self.how}))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)

    def restore(self, saved: Path) -> None:
        """Go on where *saved* stopped; the guest's clock is set right."""
        self.slowdown = float(json.loads((saved / "about.json").read_text())["slowdown"])
        _overlay(saved / "root.qcow2", "qcow2", self.folder / "root.qcow2")
        disk = self._source and share.write_source(self.folder / "source.erofs")
        self.qemu.start(saved / "state")
        with self._explained():
            self.qemu.migrated(60)
            self.qemu.ask("cont")
            self._connect()
            self.run(f"date -s @{time.time():.3f} > /dev/null")
        self._mount_source(disk)

    def _mount_source(self, disk: bool) -> None:
        if disk:
            self.succeed("mount -t erofs -o ro /dev/vdb /src")
        elif self._source:  # no mkfs.erofs here: slower, and the same
            with tempfile.TemporaryDirectory(prefix="minicontainerd-vm-share-") as scratch:
                share.copy_source(Path(scratch, "src"))
                self.copy_in(Path(scratch, "src"), "/src")

    # the words of a test

    def run(
        self,
        command: str,
        *,
        input: bytes = b"",
        seconds: float = COMMAND_SECONDS,
        line: Callable[[str], None] | None = None,
    ) -> Outcome:
        """Run *command* by the guest's shell, however it ends. *seconds* without any output are a hang."""
        with self._explained():
            return self.ssh.run(command, input=input, seconds=seconds * self.slowdown, line=line)

    def succeed(self, *commands: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run *commands*, each of which must end with 0; what they wrote, without the last line's end.

        Raises:
            CommandFailed: one did not; DiskFull, if a disk of the guest's has no room.
        """
        written = ""
        for command in commands:
            done = self.run(command, seconds=seconds)
            if done.code:
                raise self._failure(f"{command}: ended with {done.code}\n{done.out}{done.err}")
            written += done.out
        return written.rstrip("\n")

    def fail(self, *commands: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run *commands*, each of which must not end with 0; what they wrote to either stream.

        Raises:
            CommandFailed: one succeeded.
        """
        written = ""
        for command in commands:
            done = self.run(command, seconds=seconds)
            if done.code == 0:
                raise CommandFailed(f"{command}: succeeded, and should not\n{done.out}")
            written += done.out + done.err
        return written

    def wait_until_succeeds(self, command: str, seconds: float = 30) -> str:
        """Run *command* until it ends with 0.

        Raises:
            CommandFailed: it never did within *seconds*, scaled.
        """
        give_up = time.monotonic() + seconds * self.slowdown
        while (done := self.run(command)).code:
            if time.monotonic() > give_up:
                raise self._failure(f"{command}: still {done.code} after {seconds * self.slowdown:.0f} s\n{done.err}")
            time.sleep(0.1)
        return done.out.rstrip("\n")

    def copy_in(self, local: Path, remote: str) -> None:
        """Copy a file or a folder into the guest."""
        with self._explained():
            self.ssh.put(local, remote)

    def copy_out(self, remote: str, local: Path) -> None:
        """Copy a file or a folder out of the guest."""
        with self._explained():
            self.ssh.get(remote, local, COMMAND_SECONDS * self.slowdown)

    def power_cut(self) -> None:
        """Off, at once: what no disk had been asked to keep is lost. Boot it again to see what is left."""
        self.qemu.kill()
        self.ssh.close()

    def console_tail(self, lines: int = 30) -> str:
        """The end of the console."""
        console = self.qemu.console
        return "\n".join(console.read_text(errors="replace").splitlines()[-lines:]) if console.exists() else ""

    def testinfra(self) -> Any:
        """testinfra's host object for this guest, for checks that look at it from outside."""
        import testinfra  # heavy, and only some tests want it

        config = self.folder / "ssh_config"  # our own connection to this port has checked the guest's key
        config.write_text("Host 127.0.0.1\n  StrictHostKeyChecking no\n")
        options = f"ssh_config={config}&ssh_identity_file={self.recipe.folder / 'key'}&timeout=60"
        return testinfra.get_host(f"paramiko://root@127.0.0.1:{self.qemu.port}?{options}")

    # how it ends

    def close(self) -> None:
        """End it, and remove what was its own."""
        self.power_cut()
        with contextlib.suppress(FileNotFoundError):  # it never started
            shutil.copy(self.qemu.console, cache() / "last-console.log")
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> None:
        self.ssh.connect(BOOT_SECONDS, self.qemu.check)

    def _wait_for_console(self, mark: str) -> None:
        give_up = time.monotonic() + BOOT_SECONDS
        while mark not in self.console_tail():
            self.qemu.check()
            if time.monotonic() > give_up:
                raise Unreachable(f"no {mark!r} on the console within {BOOT_SECONDS:.0f} s")
            time.sleep(0.05)

    def _failure(self, message: str) -> CommandFailed:
        """Which kind of failure it was; a full disk is seldom what a message talks of."""
        disks = self.ssh.run("df -P / /tmp /run 2>/dev/null | tail -n +2", seconds=60 * self.slowdown).out.splitlines()
        full = [line.split()[5] for line in disks if int(line.split()[3]) < 64]
        kind = DiskFull if full else CommandFailed
        note = f"\nno room on {', '.join(full)} of the guest" if full else ""
        return kind(message + note + self._where())

    def _where(self) -> str:
        return f"\n--- end of the console\n{self.console_tail()}\n--- the same machine by hand\n{self.qemu.by_hand()}"

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """A connection that breaks is a panic, a full disk or a hang, and says so."""
        try:
            yield
        except Unreachable as error:
            try:
                self.qemu.check()
            except (Panic, HostDiskFull, QemuFailed) as reason:
                raise type(reason)(f"{reason}{self._where()}") from error
            raise Hang(f"{error}{self._where()}") from error
        except (Panic, HostDiskFull, QemuFailed) as reason:
            raise type(reason)(f"{reason}{self._where()}") from None


def _processors() -> int:
    return min(2, os.cpu_count() or 1)


def _saved_prefix(recipe: Recipe, accelerator: str) -> str:
    parts = [qemu_version(), accelerator, _processors(), recipe.memory_mib]
    parts += [(ROOT / "vm" / file).read_text() for file in ("qemu.py", "machine.py")]
    return f"saved-{recipe.image_key}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}"


def saved_names(recipe: Recipe) -> list[str]:
    """The folders in the cache with saved states of *recipe* that would be restored today."""
    prefixes = tuple(_saved_prefix(recipe, accelerator) for accelerator in ("kvm", "tcg"))
    return [path.name for path in cache().iterdir() if path.name.startswith(prefixes)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _overlay(base: Path, form: str, path: Path) -> None:
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", form, "-b", str(base), str(path)]
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def _locked(saved: Path) -> Iterator[Path]:
    """One process at a time makes a saved state; the others wait for it."""
    with saved.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield saved
