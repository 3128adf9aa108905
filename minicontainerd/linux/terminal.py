"""Pseudo-terminals, and handing a descriptor to another process.

A terminal is a pair: the program has the *slave* as its standard streams, whoever shows it holds the *master*. For a
container the pair comes from its own ``/dev/ptmx``, so that the slave's name, /dev/pts/0, is right inside it. The
master then has to get out: a message over a unix socket may carry descriptors (SCM_RIGHTS).
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from .tell import act

_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431
_TIOCGPTN = 0x80045430


@act("pty(7)")
def open_pair(ptmx: str = "/dev/ptmx") -> tuple[int, int, str]:
    """A new terminal: master, slave, and the slave's path. TIOCGPTPEER opens the slave without trusting a path.

    Raises:
        FileNotFoundError: no devpts is mounted where *ptmx* says.
    """
    master = os.open(ptmx, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, b"\0\0\0\0"))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return master, slave, f"/dev/pts/{number}"


@act("TIOCSCTTY(2const)")
def make_controlling(slave: int) -> None:
    """Make *slave* the controlling terminal of the caller, who must lead a session without one."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


@act("TIOCSWINSZ(2const)")
def resize(terminal: int, height: int, width: int) -> None:
    """Set the size in characters; the foreground program is sent SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def size(terminal: int) -> tuple[int, int]:
    """Height and width in characters."""
    height, width, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, b"\0" * 8))
    return height, width


@act("unix(7)")
def send_descriptor(socket_descriptor: int, descriptor: int, name: str) -> None:
    """Send *descriptor* over a connected unix socket, with *name* as the text beside it."""
    import socket  # slow to import, and only for terminals

    with socket.socket(fileno=os.dup(socket_descriptor)) as connection:
        socket.send_fds(connection, [name.encode()], [descriptor])


def connect(path: str) -> int:
    """A descriptor of a stream socket connected to the unix socket *path*.

    Raises:
        FileNotFoundError, ConnectionRefusedError: nobody listens there.
    """
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        return connection.detach()
