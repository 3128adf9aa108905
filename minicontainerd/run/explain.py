"""``explain``: whom a container tells its story.

A config with the annotation ``org.minicontainerd.explain=FILE`` asks shim and runtime to append to FILE what they do
for this container, one JSON entry a line (linux/tell.py). Children inherit the open file, so init tells its part until
execve takes the file away.

The annotation may come from somebody who may name any file and not write it. So nothing is made or followed: the file
must be there, be a regular one, and be called ``*.jsonl``, which files that matter are not. What cannot be opened is
passed over: the story is a courtesy.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from ..linux.tell import Story, is_told, telling

if TYPE_CHECKING:
    from ..oci.runtime import Spec
    from .state import Container

P = ParamSpec("P")
R = TypeVar("R")

ANNOTATION = "org.minicontainerd.explain"


@contextlib.contextmanager
def explained(config: Spec, by: str) -> Iterator[None]:
    """Tell what is done in this block to the file that *config* names; *by* is who does it.

    Where somebody listens already, the shim above us or ``--explain``, the story is theirs.
    """
    path = (config.get("annotations") or {}).get(ANNOTATION)
    file = -1 if path is None or is_told() else _open(path)
    if file < 0:
        yield
        return
    try:
        with telling(Story(file, by=by)):
            yield
    finally:
        os.close(file)


def _open(path: str) -> int:
    """The file *path*, to append to, or -1 if it is none that we should write."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(path, flags)
    except (OSError, ValueError):
        return -1
    if path.endswith(".jsonl") and stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return -1


def tells(function: Callable[Concatenate[Container, P], R]) -> Callable[Concatenate[Container, P], R]:
    """Mark an operation on a container as a part of its story."""

    @functools.wraps(function)
    def told(container: Container, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with explained(container.config, by="runtime"):
            return function(container, *args, **kwargs)

    return told
