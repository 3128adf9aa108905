"""Faults on purpose: whatever can be told can be broken.

What does a crash leave behind? To find out, a test needs one at a place of its choice. Every act of every process
passes by ``tell.act``, so acts can be counted across all of them, and the n-th one can be made to fail, or to be what
its process dies of::

    $MINICONTAINERD_FAULTS    names a folder with two files. It is read when this module is imported
    acts                      one line an act, by whoever does it, in the order in which they happen
    plan                      "17 ENOSPC" lets the 17th act fail, "17 die" kills; empty, nothing happens

The plan may be changed at any time. Both files are held open, for a process soon sees another root directory than the
test does. Without the variable nothing is opened, and an act costs one look at ``armed``.
"""

from __future__ import annotations

import errno
import os
import time

_LONGEST = 1 << 22


def _open() -> tuple[int, int] | None:
    folder = os.environ.get("MINICONTAINERD_FAULTS")
    if not folder:
        return None
    return (
        os.open(f"{folder}/acts", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC),
        os.open(f"{folder}/plan", os.O_RDONLY | os.O_CLOEXEC),
    )


_files = _open()
armed = _files is not None
"""Whether acts are counted."""


def open_files() -> tuple[int, ...]:
    """The descriptors of both files."""
    return _files or ()


def reach(name: str) -> None:
    """The act *name* is about to be done by this process.

    Raises:
        OSError: the plan says that it fails.
    """
    assert _files is not None, "only called when armed"
    acts, plan = _files
    wanted = os.pread(plan, 100, 0).decode().split()
    if not wanted:
        return
    line = f"{os.getpid()} {time.monotonic_ns()} {name}\n".encode()
    try:
        os.write(acts, line)
    except OSError:
        return  # a child that has closed what is not the container's
    # Appending is atomic, and the offset is shared by whoever was forked: so the line is looked for.
    ordinal = os.pread(acts, _LONGEST, 0).split(b"\n").index(line.rstrip()) + 1
    if ordinal != int(wanted[0]):
        return
    if wanted[1] == "die":
        os._exit(128 + 9)  # the first process of a pid namespace could not kill itself
    raise OSError(getattr(errno, wanted[1]), f"{os.strerror(getattr(errno, wanted[1]))} (on purpose)", name)
