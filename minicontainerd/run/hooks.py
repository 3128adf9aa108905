"""Hooks: programs of the user's, run at fixed moments of a container's life with its state on standard input.

::

    prestart, createRuntime    by create, on the host, when the namespaces and mounts are there
    createContainer            by create, in the container's namespaces, the root not changed yet
    startContainer             by start, in the container, just before its program
    poststart                  by start, on the host, just after
    poststop                   by delete, on the host, when all is gone

A hook that fails ends the container, and the command that ran it; only after poststop, where there is nothing left to
end, a warning is all, and the next is run. The first two rows and poststart are the parent's, the others the child's.
Source: runtime-spec 1.3 config.md#posix-platform-hooks.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import ContainerdError, DeadlineExceeded, InvalidArgument, Unknown
from ..linux.tell import step
from .state import VERSION, Container
from .words import reason

if TYPE_CHECKING:
    from ..oci.runtime import Hook, HookName, Spec

NAMES: tuple[HookName, ...] = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)


def state_of(container: Container, status: str, pid: int) -> dict[str, Any]:
    """The state that the runtime-spec defines, as a hook reads it."""
    state: dict[str, Any] = {
        "ociVersion": container.config.get("ociVersion", VERSION),
        "id": container.id,
        "status": status,
        "pid": pid,
        "bundle": container.bundle,
    }
    if annotations := container.config.get("annotations"):
        state["annotations"] = annotations
    return state


def check(config: Spec) -> None:
    """Look at the hooks of *config*; not at their programs, which may be there only later.

    Raises:
        InvalidArgument: one has a timeout that is no time.
    """
    for name in NAMES:
        for number, hook in enumerate((config.get("hooks") or {}).get(name) or []):
            if (timeout := hook.get("timeout", 1)) <= 0:
                raise InvalidArgument(f"{name} hook #{number}: its timeout is {timeout} s, and must be more than 0")


def are_there(config: Spec, *names: HookName) -> bool:
    """Whether *config* has hooks of one of these kinds."""
    return any((config.get("hooks") or {}).get(name) for name in names)


def run_warning(config: Spec, name: HookName, state: dict[str, Any], warn: Callable[[str], None]) -> None:
    """Run every hook called *name*, in order, also after one that fails: that one is told to *warn*."""
    for number, hook in enumerate((config.get("hooks") or {}).get(name) or []):
        try:
            _run_numbered(name, number, hook, state)
        except ContainerdError as error:
            warn(str(error))


def run(config: Spec, name: HookName, state: dict[str, Any]) -> None:
    """Run every hook called *name*, in order, each with *state* on its standard input.

    Raises:
        Unknown: one could not be started or did not return 0; what it wrote is in the message.
        DeadlineExceeded: one took longer than its timeout, and was killed.
    """
    for number, hook in enumerate((config.get("hooks") or {}).get(name) or []):
        _run_numbered(name, number, hook, state)


def _run_numbered(name: HookName, number: int, hook: Hook, state: dict[str, Any]) -> None:
    with step(f"{name} hook {hook['path']}", spec="runtime-spec config.md#posix-platform-hooks"):
        _run_one(f"error running {name} hook #{number}", hook, json.dumps(state).encode())


def _run_one(what: str, hook: Hook, state: bytes) -> None:
    given, output = os.memfd_create("state"), os.memfd_create("output")
    try:
        os.write(given, state)
        os.lseek(given, 0, os.SEEK_SET)
        environment = dict(entry.partition("=")[::2] for entry in hook.get("env") or [])
        streams = [(os.POSIX_SPAWN_DUP2, given, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
        try:
            path = hook["path"]
            pid = os.posix_spawn(path, hook.get("args") or [path], environment, file_actions=streams)
        except OSError as error:
            raise Unknown(f"{what}: {hook['path']}: {reason(error)}") from error
        status = _wait(what, pid, hook.get("timeout"))
        if status != 0:
            os.lseek(output, 0, os.SEEK_SET)
            said = os.read(output, 2048).decode(errors="replace").strip()
            raise Unknown(f"{what}: exit status {status}, output: {said}")
    finally:
        os.close(given)
        os.close(output)


_LONGEST = (1 << 31) - 1
"""Milliseconds that poll(2) can wait: 24 days."""


def _wait(what: str, pid: int, timeout: int | None) -> int:
    """The exit status of *pid*, which may take *timeout* seconds."""
    if timeout is not None:
        watched = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        in_time = bool(poll.poll(min(timeout * 1000, _LONGEST)))
        os.close(watched)
        if not in_time:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise DeadlineExceeded(f"{what}: not done after {timeout} s")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
