"""A machine as a process: its command line, its control socket, its end.

The devices are few and always the same, since a saved state fits only the machine that it was saved from:

======== ===================================================================================
vda      the root: a difference to the image, thrown away with the machine
vdb      the source, an erofs image, put there before each start
vdc      empty, for what has to outlive a machine (the power cuts keep their store there)
eth0     loopback of the host to ssh, and nothing else: no name is resolved, no packet leaves
ttyS0    the console, into a file
======== ===================================================================================

Control is QMP: JSON lines over a Unix socket, docs/interop/qmp-spec.rst of QEMU 7.2.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vm.recipe import Recipe

SOURCE_MIB, DATA_GIB = 192, 4

ACCELERATORS = {"kvm": "kvm", "tcg": "tcg,thread=single"}
"""What QEMU is told. Interpreted in threads of their own, a processor may keep a translation of what another has just
overwritten, and stay in it for ever: the kernel rewrites its own code (a jump label, when a first cgroup gets a
cpu.max), and with QEMU 7.2 some sixty times of that were enough. With one thread, one guest is a little slower, two
beside each other are faster."""


class Panic(Exception):
    """The guest's kernel, or its first process, died."""


class HostDiskFull(Exception):
    """A write of the guest's found the host's disk full."""


class QemuFailed(Exception):
    """QEMU did not start, or refused a command."""


@dataclass
class Qemu:
    """One machine. *folder* holds its disks, console and socket; *data* is the file behind vdc."""

    recipe: Recipe
    folder: Path
    accelerator: str
    processors: int
    port: int
    data: Path
    data_cache: str = "writeback"
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _qmp: socket.socket | None = field(default=None, init=False)
    _lines: Any = field(default=None, init=False)

    @property
    def console(self) -> Path:
        """All that the guest wrote to its console."""
        return self.folder / "console.log"

    def command(self) -> list[str]:
        """The whole command line of a cold boot."""
        image = self.recipe.folder
        cpu = "host" if self.accelerator == "kvm" else "qemu64"
        command = ["qemu-system-x86_64", "-M", "q35", "-accel", ACCELERATORS[self.accelerator], "-cpu", cpu]
        command += ["-smp", str(self.processors), "-m", str(self.recipe.memory_mib)]
        command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        command += ["-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd")]
        command += ["-append", self.recipe.command_line]
        command += _disk("root", self.folder / "root.qcow2", "qcow2", "unsafe")
        command += _disk("source", self.folder / "source.erofs", "raw", "unsafe", "readonly=on")
        command += _disk("data", self.data, "raw", self.data_cache)
        network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"
        command += ["-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="]
        command += ["-device", "virtio-rng-pci"]
        command += ["-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"]
        return [*command, "-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off"]

    def by_hand(self) -> str:
        """A line for a shell that boots the same machine with its console on the terminal."""
        words = self.command()
        words[words.index("-chardev") + 1] = "stdio,id=console,signal=off"
        words = words[: words.index("-qmp")]
        first, last = words.index("-drive"), words.index("-netdev")  # the disks are gone with the machine
        root = f"file={self.recipe.folder / 'root.ext4'},if=none,id=root,format=raw,snapshot=on"
        return shlex.join([*words[:first], "-drive", root, "-device", "virtio-blk-pci,drive=root", *words[last:]])

    def start(self, incoming: Path | None = None) -> None:
        """Start it; with *incoming*, from a saved state, and paused.

        Raises:
            QemuFailed: it ended at once, with what it said.
        """
        (self.folder / "qmp").unlink(missing_ok=True)
        command = self.command()
        if incoming:
            command += ["-S", "-incoming", f"exec:cat {shlex.quote(str(incoming))}"]
        with (self.folder / "qemu.log").open("wb") as log:
            # a group of its own: Ctrl-C at the terminal is for the tests, which then end the machine in order
            # and ended by the kernel if they are killed: a guest without a master would run for ever
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._connect()

    def _connect(self) -> None:
        give_up = time.monotonic() + 20
        connection = socket.socket(socket.AF_UNIX)
        while True:
            try:
                connection.connect(str(self.folder / "qmp"))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if not self.alive() or time.monotonic() > give_up:
                    connection.close()
                    raise QemuFailed(f"QEMU did not start: {self.said()}\n{shlex.join(self.command())}") from None
                time.sleep(0.01)
        connection.settimeout(60)
        self._qmp, self._lines = connection, connection.makefile("r")
        self._lines.readline()  # the greeting
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """One QMP command; its answer.

        Raises:
            QemuFailed: QEMU is gone, or said no.
        """
        if self._qmp is None:
            raise QemuFailed("the machine was not started")
        try:
            self._qmp.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            while line := self._lines.readline():
                answer = json.loads(line)
                if "error" in answer:
                    raise QemuFailed(f"{command}: {answer['error']['desc']}")
                if "return" in answer:
                    return answer["return"]
        except OSError as error:
            raise QemuFailed(f"{command}: QEMU does not answer: {error}; {self.said()}") from None
        raise QemuFailed(f"{command}: QEMU has ended: {self.said()}")

    def migrated(self, seconds: float) -> None:
        """Wait until a migration, out or in, is complete."""
        give_up = time.monotonic() + seconds
        while (status := self.ask("query-migrate").get("status")) != "completed":
            if status == "failed" or time.monotonic() > give_up:
                raise QemuFailed(f"the saved state was not carried over: {status}; {self.said()}")
            time.sleep(0.02)

    def alive(self) -> bool:
        """Is the process there?"""
        return self.process is not None and self.process.poll() is None

    def check(self) -> None:
        """Raise the name of what happened, if something did.

        Raises:
            Panic: see the console.
            HostDiskFull: make room.
            QemuFailed: QEMU ended for another reason.
        """
        console = self.console.read_text(errors="replace") if self.console.exists() else ""
        _, panicked, reason = console[-20000:].partition("Kernel panic - not syncing: ")
        if panicked:
            raise Panic(f"the guest's kernel panicked: {reason.splitlines()[0]}")
        if not self.alive():
            raise QemuFailed(f"QEMU has ended: {self.said()}")
        if self.ask("query-status")["status"] == "io-error":
            raise HostDiskFull(f"the host's disk under {self.folder} is full")

    def said(self) -> str:
        """What QEMU itself wrote."""
        log = self.folder / "qemu.log"
        return log.read_text(errors="replace")[-1000:].strip() if log.exists() else ""

    def kill(self) -> None:
        """End it at once, as if its power were cut. Nothing of the guest's memory reaches a disk."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self._qmp is not None:
            with contextlib.suppress(OSError):
                self._lines.close()
                self._qmp.close()
            self._qmp = None


def _disk(name: str, path: Path, form: str, cache: str, *more: str) -> list[str]:
    """A virtio disk. A full host pauses the machine instead of giving the guest an error."""
    drive = ",".join([f"file={path}", "if=none", f"id={name}", f"format={form}", f"cache={cache}", *more])
    errors = "" if "readonly=on" in more else ",werror=enospc"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive={name}{errors}"]
