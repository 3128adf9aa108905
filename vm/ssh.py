"""A connection into the guest: commands and files, by paramiko, over one TCP connection to a port of loopback.

QEMU accepts a connection before anyone in the guest listens, so a greeting that does not come is no error while the
guest boots: it is tried again. The guest's key is the image's, and no other is trusted.
"""

from __future__ import annotations

import io
import logging
import shlex
import socket
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import paramiko

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # a machine that is switched off is no news to a log


KNOCK_SECONDS = 60.0
"""After so long without output, a guest is asked whether it is there at all, and has as long again to answer. A test
may be silent for an hour where everything is slow; sshd may not."""


class Unreachable(Exception):
    """The guest did not answer in time."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit *code*, and what it wrote."""

    code: int
    out: str
    err: str


class Ssh:
    """A connection to the guest behind *port*, which has the keys of *image*."""

    def __init__(self, port: int, image: Path) -> None:
        self.port = port
        self._key = paramiko.RSAKey.from_private_key_file(str(image / "key"))
        self._host_key = (image / "host_key").read_text().split()[1]
        self._transport: paramiko.Transport | None = None

    def connect(self, seconds: float, alive: Callable[[], None]) -> None:
        """Connect, trying again until *seconds* are over; *alive* raises when that is pointless.

        Raises:
            Unreachable: nobody answered.
        """
        give_up, patience = time.monotonic() + seconds, 1.0
        while True:
            alive()
            try:
                self._transport = self._greet(patience)
                return
            except (OSError, EOFError, paramiko.SSHException) as error:
                if time.monotonic() > give_up:
                    raise Unreachable(f"no ssh from the guest within {seconds:.0f} s: {error}") from None
                patience = min(patience * 2, seconds)
                time.sleep(0.05)

    def _greet(self, patience: float) -> paramiko.Transport:
        connection = socket.create_connection(("127.0.0.1", self.port), 2)
        transport = paramiko.Transport(connection)
        try:
            transport.banner_timeout = patience
            transport.handshake_timeout = max(patience * 10, 30)
            transport.auth_timeout = 60
            transport.start_client(timeout=max(patience * 10, 30))
            if transport.get_remote_server_key().get_base64() != self._host_key:
                raise Unreachable(f"port {self.port} is answered with another key than the guest's")
            transport.auth_publickey("root", self._key)
        except BaseException:
            transport.close()
            raise
        return transport

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def run(
        self,
        command: str,
        *,
        input: bytes = b"",
        seconds: float | None = None,
        line: Callable[[str], None] | None = None,
    ) -> Outcome:
        """Run *command* by the guest's shell; each line of its output is given to *line* as it comes.

        Raises:
            Unreachable: the connection broke, *seconds* went by without any output, or nobody answers a knock.
        """
        code, out, err = self._run(command, input, seconds, line)
        return Outcome(code, out.decode(errors="replace"), err.decode(errors="replace"))

    def _run(
        self, command: str, input: bytes, seconds: float | None, line: Callable[[str], None] | None
    ) -> tuple[int, bytes, bytes]:
        if self._transport is None:
            raise Unreachable("not connected")
        try:
            channel = self._transport.open_session(timeout=KNOCK_SECONDS)
            channel.settimeout(seconds)
            channel.exec_command(command)
            channel.sendall(input)
            channel.shutdown_write()
            return _collect(channel, seconds, line)
        except TimeoutError as error:
            raise Unreachable(f"nothing from the guest for {seconds:.0f} s: {command}") from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise Unreachable(f"the connection to the guest broke: {error}") from error

    def terminal(self, kind: str, columns: int, lines: int) -> paramiko.Channel:
        """A login shell on a terminal of the guest's.

        Raises:
            Unreachable: there is no connection.
        """
        if self._transport is None:
            raise Unreachable("not connected")
        channel = self._transport.open_session()
        channel.get_pty(kind, columns, lines)
        channel.invoke_shell()
        return channel

    def put(self, local: Path, remote: str) -> None:
        """Copy a file or a folder to be *remote* in the guest.

        Raises:
            OSError: the guest refused.
        """
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(local, arcname=Path(remote).name)
        folder = shlex.quote(str(Path(remote).parent))
        done = self.run(f"mkdir -p {folder} && tar -xf - -C {folder} --no-same-owner", input=buffer.getvalue())
        if done.code:
            raise OSError(f"{remote}: {done.err.strip()}")

    def get(self, remote: str, local: Path, seconds: float | None = None) -> None:
        """Copy a file, or a folder with its files and folders, from the guest to be *local*.

        Raises:
            FileNotFoundError: it is not there.
            Unreachable: as :meth:`run`.
        """
        path = Path(remote)
        command = f"tar -cf - -C {shlex.quote(str(path.parent))} {shlex.quote(path.name)}"
        code, archive, said = self._run(command, b"", seconds, None)
        if code:
            raise FileNotFoundError(f"{remote}: not copied from the guest: {said.decode(errors='replace').strip()}")
        _unpack(archive, local)


def _unpack(data: bytes, local: Path) -> None:
    """Write the files and folders of an archive whose only top is to be called *local*; nothing else, nowhere else."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive.getmembers():
            parts = Path(member.name).parts[1:]
            if ".." in parts:
                raise OSError(f"the guest sent a path that leads elsewhere: {member.name}")
            target = local.joinpath(*parts)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif member.isreg() and (content := archive.extractfile(member)):
                target.write_bytes(content.read())


def _collect(
    channel: paramiko.Channel, seconds: float | None, line: Callable[[str], None] | None
) -> tuple[int, bytes, bytes]:
    """Read both streams to their ends. paramiko has no select of its own over both, so errors are drained beside."""
    out, err, partial = b"", b"", b""
    quiet_since = knocked = time.monotonic()
    while True:
        heard = False
        if channel.recv_ready():
            chunk = channel.recv(1 << 16)
            out, partial, heard = out + chunk, partial + chunk, True
            *whole, partial = partial.split(b"\n")
            for each in whole if line else ():
                line(each.decode(errors="replace"))  # type: ignore[misc]
        if channel.recv_stderr_ready():
            err, heard = err + channel.recv_stderr(1 << 16), True
        if heard:
            quiet_since = knocked = time.monotonic()
            continue
        if channel.closed or (channel.status_event.is_set() and channel.eof_received):
            if not channel.status_event.is_set() or channel.exit_status == -1:
                raise EOFError("closed without an exit status")
            break
        if seconds is not None and time.monotonic() - quiet_since > seconds:
            raise TimeoutError
        if time.monotonic() - knocked > KNOCK_SECONDS:
            _knock(channel.get_transport())
            knocked = time.monotonic()
        channel.status_event.wait(0.005)
    return channel.recv_exit_status(), out, err


def _knock(transport: paramiko.Transport) -> None:
    """Ask for a channel and give it back: nothing is started in the guest, but its sshd has to answer."""
    try:
        transport.open_session(timeout=KNOCK_SECONDS).close()
    except paramiko.SSHException as error:
        raise Unreachable(f"nothing from the guest, nor any answer to a knock: {error}") from error
