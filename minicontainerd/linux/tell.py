"""``explain``: every privileged act can be told, because every one passes here.

The functions of this room that change something are marked ``@act("mount(2)")``. Above them, code says what it
is doing with ``with step("a private view of the mounts", spec="runtime-spec config.md#mounts")``. While nobody
listens, both cost one look at a context variable. While somebody does, the two together make a story::

    a private view of the mounts                                  [runtime-spec config.md#mounts]
      mount(source='', target='/', fstype='', flags=REC|PRIVATE)  mount(2)  31 µs

An act inside an act is a part of it, and not told. Flags are shown as words and descriptors as what they are open
on, because a number means nothing to a reader.

The listener lives in a context variable, so that of two requests in one daemon one can be told and the other not,
and it follows a request into its worker thread. A forked child inherits the listener together with the descriptor
it writes to, and says with :func:`speak_as` who it is from now on; each entry is one ``write(2)`` to a file opened
with O_APPEND, so lines of parent and child never mix.

An entry is a JSON object on a line of its own: ``{"at", "depth", "by", "step", "spec"}`` for a step, ``{"at", "depth",
"by", "call", "page", "arguments", "result" or "error", "microseconds"}`` for an act, with ``"by_hand"`` where a command
of the shell does the same. *at* is when it was written, in microseconds of the host's monotonic clock. :func:`render`
makes it indented text.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from minicontainerd.linux import faults

P = ParamSpec("P")
R = TypeVar("R")
Entry = dict[str, Any]
Show = Callable[[Any], str]

_listener: ContextVar[Story | None] = ContextVar("listener", default=None)


class Story:
    """A listener that appends each entry to the file behind *descriptor*, as JSON or as indented text.

    *by* is who acts, and stands before each line: the shim, the runtime, a child of theirs.
    """

    def __init__(self, descriptor: int, *, text: bool = False, by: str = "") -> None:
        import inspect  # slow to import, so only for a listener; and now, for after pivot_root it is out of reach

        self.signature = inspect.signature
        self.descriptor = descriptor
        self.text = text
        self.by = by
        self.depth = 0

    def add(self, entry: Entry) -> None:
        """Write one entry; the story is a courtesy, so a failure to write it never fails the work."""
        entry = {"at": time.monotonic_ns() // 1000, "depth": self.depth, "by": self.by, **entry}
        line = render(entry) if self.text else json.dumps(entry)
        with contextlib.suppress(OSError):
            os.write(self.descriptor, line.encode(errors="backslashreplace") + b"\n")


@contextlib.contextmanager
def telling(story: Story | None) -> Iterator[None]:
    """Let *story* hear every step and act inside this block (and in children forked inside it)."""
    token = _listener.set(story)
    try:
        yield
    finally:
        _listener.reset(token)


def is_told() -> bool:
    """Whether somebody listens."""
    return _listener.get() is not None


def speak_as(name: str) -> None:
    """For a child just forked: its part of the story is told under *name*, from the left."""
    story = _listener.get()
    if story is not None:
        story.by, story.depth = name, 0


def open_files() -> set[int]:
    """The descriptors that are needed as long as acts are to be told, or broken."""
    story = _listener.get()
    return {*faults.open_files(), *([story.descriptor] if story is not None else [])}


@contextlib.contextmanager
def step(title: str, spec: str = "") -> Iterator[None]:
    """Name what the acts inside this block are for; *spec* is the section that asks for it."""
    story = _listener.get()
    if story is None:
        yield
        return
    story.add({"step": title, "spec": spec})
    story.depth += 1
    try:
        yield
    finally:
        story.depth = max(0, story.depth - 1)


def act(
    page: str, *, returns: bool = True, by_hand: Callable[[dict[str, Any]], str] | None = None, **shows: Show
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function of this room as a privileged act, described by the manual *page*.

    *shows* has a way to show for parameters whose plain value says little. One that never *returns*, execve, is told
    before it is done. *by_hand* makes of the arguments the command that does the same in a shell.
    """

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def told(*args: P.args, **kwargs: P.kwargs) -> R:
            if faults.armed:
                faults.reach(function.__name__)
            story = _listener.get()
            if story is None:
                return function(*args, **kwargs)
            bound = story.signature(function).bind(*args, **kwargs)
            arguments = {name: shows.get(name, show)(value) for name, value in bound.arguments.items()}
            entry: Entry = {"call": function.__name__, "page": page, "arguments": arguments}
            if by_hand is not None:
                entry["by_hand"] = by_hand(dict(bound.arguments))
            if not returns:
                story.add({**entry, "result": "no return", "microseconds": 0})
            with telling(None):
                return _tell(story, entry, function, args, kwargs)

        return told

    return mark


def _tell(story: Story, entry: Entry, function: Callable[..., R], args: Any, kwargs: Any) -> R:
    started = time.perf_counter_ns()
    try:
        result = function(*args, **kwargs)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "error")
        entry["error"] = f"{name} ({error.strerror or error})"
        raise
    else:
        entry["result"] = show(result)
        return result
    finally:
        entry["microseconds"] = (time.perf_counter_ns() - started) // 1000
        story.add(entry)


def show(value: object) -> str:
    """*value* as it is written in Python, but flags by their names, and /proc/self/fd/N with what it means."""
    if isinstance(value, enum.IntFlag):
        return "|".join(str(flag.name) for flag in value) or "0"
    text = repr(value)
    if isinstance(value, str) and value.startswith("/proc/self/fd/"):
        with contextlib.suppress(OSError):
            text = f"{text} -> {os.readlink(value)!r}"
    return text if len(text) <= 300 else text[:297] + "..."


def descriptor(value: int) -> str:
    """A descriptor with the path that it is open on."""
    try:
        return f"{value} -> {os.readlink(f'/proc/self/fd/{value}')!r}"
    except OSError:
        return str(value)


def open_flags(value: int) -> str:
    """The flags of open(2) by their names.

    >>> open_flags(os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    'WRONLY|CREAT|CLOEXEC'
    """
    names = ("PATH", "CREAT", "EXCL", "APPEND", "DIRECTORY", "NOFOLLOW", "NONBLOCK", "CLOEXEC")
    access = {os.O_RDONLY: "RDONLY", os.O_WRONLY: "WRONLY", os.O_RDWR: "RDWR"}[value & os.O_ACCMODE]
    found = [name for name in names if value & getattr(os, "O_" + name)]
    return "|".join(found if "PATH" in found else [access, *found])


def device(value: int) -> str:
    """A device as ls(1) shows it.

    >>> device(os.makedev(1, 3))
    '1:3'
    """
    return f"{os.major(value)}:{os.minor(value)}"


def octal(value: int) -> str:
    """A mode as chmod(1) takes it."""
    return f"{value:#o}"


def render(entry: Entry) -> str:
    """One entry as a line of indented text.

    >>> render({"depth": 1, "by": "init", "step": "a new root", "spec": "config.md#root"})
    'init      a new root  [config.md#root]'
    >>> render({"depth": 2, "call": "chdir", "page": "chdir(2)", "arguments": {"path": "'/'"}, "result": "None",
    ...         "microseconds": 3})
    "    chdir(path='/')  chdir(2)  3 µs"
    >>> print(render({"depth": 0, "call": "delete_link", "page": "ip-link(8)", "arguments": {"index": "4"},
    ...               "result": "None", "microseconds": 90, "by_hand": "ip link delete dev 4"}))
    delete_link(index=4)  ip-link(8)  90 µs
      # ip link delete dev 4
    """
    speaker = f"{entry['by']:<8}" if entry.get("by") else ""
    indent = speaker + "  " * int(entry["depth"])
    if "step" in entry:
        spec = f"  [{entry['spec']}]" if entry.get("spec") else ""
        return f"{indent}{entry['step']}{spec}"
    arguments = ", ".join(f"{name}={value}" for name, value in entry["arguments"].items())
    outcome = entry.get("error") or entry["result"]
    outcome = "" if outcome == "None" else f" = {outcome}"
    line = f"{indent}{entry['call']}({arguments}){outcome}  {entry['page']}  {entry['microseconds']} µs"
    by_hand = str(entry.get("by_hand", "")).splitlines()
    return "\n".join([line, *(f"{indent}  # {each}" for each in by_hand)])
