"""``explain``: every privileged act can be told, because every one passes here.

The functions of this room that change something are marked ``@act("mount(2)")``. Above them, code says what it
is doing with ``with step("a private view of the mounts", spec="runtime-spec config.md#mounts")``. While nobody
listens, both cost one look at a context variable. While somebody does, the two together make a story::

    a private view of the mounts                                  [runtime-spec config.md#mounts]
      mount(source='', target='/', fstype='', flags=0x44000) = None   mount(2)  31 µs

The listener lives in a context variable, so that of two requests in one daemon one can be told and the other not,
and it follows a request into its worker thread. A forked child inherits the listener together with the descriptor
it writes to; each entry is one ``write(2)`` to a file opened with O_APPEND, so lines of parent and child never mix.

An entry is a JSON object on a line of its own: ``{"depth", "step", "spec"}`` for a step, ``{"depth", "call", "page",
"arguments", "result" or "error", "microseconds"}`` for an act. :func:`render` makes the indented text of one.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
Entry = dict[str, Any]

_listener: ContextVar[Story | None] = ContextVar("listener", default=None)


class Story:
    """A listener that appends each entry to the file behind *descriptor*, as JSON or as indented text."""

    def __init__(self, descriptor: int, *, text: bool = False) -> None:
        import inspect  # slow to import, so only for a listener; and now, for after pivot_root it is out of reach

        self.signature = inspect.signature
        self.descriptor = descriptor
        self.text = text
        self.depth = 0

    def add(self, entry: Entry) -> None:
        """Write one entry; the story is a courtesy, so a failure to write it never fails the work."""
        entry = {"depth": self.depth, **entry}
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
        story.depth -= 1


def act(page: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function of this room as a privileged act, described by the manual *page*."""

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def told(*args: P.args, **kwargs: P.kwargs) -> R:
            story = _listener.get()
            if story is None:
                return function(*args, **kwargs)
            return _tell(story, page, function, args, kwargs)

        return told

    return mark


def _tell(story: Story, page: str, function: Callable[..., R], args: Any, kwargs: Any) -> R:
    entry: Entry = {"call": function.__name__, "page": page}
    bound = story.signature(function).bind(*args, **kwargs)
    entry["arguments"] = {name: _show(value) for name, value in bound.arguments.items()}
    started = time.perf_counter_ns()
    try:
        result = function(*args, **kwargs)
    except OSError as error:
        entry["error"] = str(error)
        raise
    else:
        entry["result"] = _show(result)
        return result
    finally:
        entry["microseconds"] = (time.perf_counter_ns() - started) // 1000
        story.add(entry)


def _show(value: object) -> str:
    if isinstance(value, enum.IntFlag):
        return "|".join(str(flag.name) for flag in value) or "0"
    text = repr(value)
    if isinstance(value, str) and value.startswith("/proc/self/fd/"):
        with contextlib.suppress(OSError):
            text = f"{text} -> {os.readlink(value)!r}"  # the number means nothing to a reader
    return text if len(text) <= 300 else text[:297] + "..."


def render(entry: Entry) -> str:
    """One entry as a line of indented text.

    >>> render({"depth": 1, "step": "a new root", "spec": "config.md#root"})
    '  a new root  [config.md#root]'
    >>> render({"depth": 2, "call": "chdir", "page": "chdir(2)", "arguments": {"path": "'/'"}, "result": "None",
    ...         "microseconds": 3})
    "    chdir(path='/') = None  chdir(2)  3 µs"
    """
    indent = "  " * int(entry["depth"])
    if "step" in entry:
        spec = f"  [{entry['spec']}]" if entry.get("spec") else ""
        return f"{indent}{entry['step']}{spec}"
    arguments = ", ".join(f"{name}={value}" for name, value in entry["arguments"].items())
    outcome = entry["result"] if "error" not in entry else "-> " + entry["error"]
    return f"{indent}{entry['call']}({arguments}) = {outcome}  {entry['page']}  {entry['microseconds']} µs"
