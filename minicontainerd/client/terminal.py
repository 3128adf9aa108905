"""The user's own terminal while a container has one: raw, so that every key goes through, and its size passed on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator

Resize = Callable[[int, int], None]
"""Called with width and height, in characters."""


@contextlib.contextmanager
def raw_terminal() -> Iterator[None]:
    """Standard input as it comes, key by key, until the end of the block; nothing if it is no terminal."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def follow_size(resize: Resize) -> None:
    """Pass on the terminal's size now and whenever it changes; nothing if standard output is no terminal."""
    if not sys.stdout.isatty():
        return

    def tell(*_: object) -> None:
        size = os.get_terminal_size(sys.stdout.fileno())
        with contextlib.suppress(Exception):  # the process may have ended; its size does not matter then
            resize(size.columns, size.lines)

    tell()
    signal.signal(signal.SIGWINCH, tell)
