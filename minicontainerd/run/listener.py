"""Who answers a container's system calls: the filter's listener, taken from the child and given to an agent.

An action of the filter, SCMP_ACT_NOTIFY, holds a call until somebody has decided on it: let it go on, let it fail, or
do it in the caller's place and say what came of it. Who decides reads the calls from a descriptor, and the kernel gives
that to whoever loads the filter. That is the child, the last that should have it. So::

    child    loads the filter, gets the listener, says its number on the channel       seccomp 7
    parent   takes a copy out of the child by pidfd_getfd(2), connects to listenerPath,
             sends it with the process's state, closes the connection                  go
    child    closes its own, and goes on to execve

The child's calls are held from the first moment, its next read among them if the filter says so; that is why the parent
sends before it answers, and why write(2), by which the child speaks, must not be held (linux/seccomp.py).

Source: runtime-spec 1.3 config-linux.md#containerprocessstate; seccomp_unotify(2).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from ..linux import terminal
from ..linux.process import take_descriptor
from ..linux.tell import step
from .state import VERSION
from .words import told_as

if TYPE_CHECKING:
    from ..oci.runtime import Seccomp
    from .channel import Channel


def hear(talk: Channel, pid: int, config: Seccomp | None, state: dict[str, Any]) -> tuple[str, str]:
    """The next message of the child *pid*; if it is about a listener, that is dealt with, and the one after it.

    Raises:
        Unknown: the agent cannot be reached.
    """
    word, text = talk.hear()
    if word != "seccomp" or config is None:
        return word, text
    with step("give the filter's listener to its agent", spec="runtime-spec config-linux.md#containerprocessstate"):
        with told_as("unable to send the seccomp listener"):
            _introduce(take_descriptor(pid, int(text)), pid, config, state)
    talk.say("go")
    return talk.hear()


def _introduce(descriptor: int, pid: int, config: Seccomp, state: dict[str, Any]) -> None:
    told = {"ociVersion": VERSION, "fds": ["seccompFd"], "pid": pid, "state": state}
    if metadata := config.get("listenerMetadata"):
        told["metadata"] = metadata
    try:
        connection = terminal.connect(config["listenerPath"])
        try:
            terminal.send_descriptor(connection, descriptor, json.dumps(told))
        finally:
            os.close(connection)
    finally:
        os.close(descriptor)
