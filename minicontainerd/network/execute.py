"""The exec protocol: run a plugin, tell it everything, read what it says.

::

    environment   CNI_COMMAND=ADD CNI_CONTAINERID=... CNI_NETNS=... CNI_IFNAME=... CNI_ARGS=... CNI_PATH=...
    stdin         the configuration, JSON
    stdout        the result, or an error with a code; exit status 0 or not
    stderr        whatever it likes

A plugin is somebody else's program, and may do anything: print garbage or without end, hang, die by a signal, leave
a child that holds its output open. So it gets a limited time and a limited output, it is over when its process is,
and it runs in a process group of its own, so that what it started is ended with it. Each such end is an error that
names the plugin.

Source: cni@3f51e88 SPEC.md, section 2; pkg/invoke/raw_exec.go.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import NotFound
from .failure import IO_FAILURE, UNDECODABLE, PluginError, from_json

SECONDS = 120.0
"""How long a plugin may take, if the caller does not say: DHCP is slow."""

MOST_OUTPUT = 4 << 20
"""How many bytes of standard output are read, and of standard error kept."""


def find(kind: str, path: Sequence[str]) -> str:
    """The program of the plugin called *kind*: the first in the folders of *path*.

    Raises:
        NotFound: it is in none of them.
    """
    for folder in path:
        candidate = os.path.join(folder, kind)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise NotFound(f'CNI plugin "{kind}" in {os.pathsep.join(path) or "an empty CNI_PATH"}')


def execute(
    program: str,
    environment: Mapping[str, str],
    config: Mapping[str, Any],
    *,
    seconds: float = SECONDS,
    own_stderr: bool = True,
) -> Any:
    """Run *program* with the CNI_* variables of *environment* and *config* on its standard input.

    Gives the JSON it printed, decoded, or None if it printed nothing. Its standard error is kept for an error
    message, or with ``own_stderr=False`` goes where ours goes, as it must for a plugin that runs another.

    Raises:
        PluginError: it said that it failed, or ended in a way that says so.
    """
    name = os.path.basename(program)
    variables = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
    status, output, complaint = _run(program, {**variables, **environment}, config, seconds, own_stderr)
    text = output.decode(errors="replace").strip()
    try:
        said = json.loads(text) if text else None
    except (ValueError, RecursionError):
        if status == 0:
            raise PluginError(UNDECODABLE, f"it printed {_short(text)}, which is not JSON", plugin=name) from None
        said = None
    if status == 0:
        return said
    failure = from_json(said, name)
    if failure is not None:
        raise failure
    ended = f"it was ended by {_signal(-status)}" if status < 0 else f"it exited with {status}"
    heard = "; ".join(_short(each) for each in (text, complaint.decode(errors="replace").strip()) if each)
    raise PluginError(IO_FAILURE, ended, heard or "it said nothing", plugin=name)


def _run(
    program: str, environment: Mapping[str, str], config: Mapping[str, Any], seconds: float, own_stderr: bool
) -> tuple[int, bytes, bytes]:
    """Exit status (negative: the signal), standard output, standard error."""
    import subprocess  # slow to import, and a plugin of ours that runs no other program never needs it

    stdin = os.memfd_create("cni-config", os.MFD_CLOEXEC)
    try:
        os.write(stdin, json.dumps(config).encode())
        os.lseek(stdin, 0, os.SEEK_SET)
        process = subprocess.Popen(
            [program],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if own_stderr else None,
            env=environment,
            process_group=0,
        )
    except OSError as error:
        raise PluginError(IO_FAILURE, f"{program} cannot be run: {error}", plugin=os.path.basename(program)) from error
    finally:
        os.close(stdin)
    with process:
        try:
            heard = _listen(process, time.monotonic() + seconds, os.path.basename(program), seconds)
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return process.wait(), heard[0], heard[1]


def _listen(process: Any, deadline: float, name: str, seconds: float) -> tuple[bytes, bytes]:
    """Read until the process has ended. A child of its own may keep the pipes open for longer."""
    heard: dict[int, bytearray] = {pipe.fileno(): bytearray() for pipe in (process.stdout, process.stderr) if pipe}
    ended = os.pidfd_open(process.pid)
    poll = select.poll()
    for descriptor in (*heard, ended):
        poll.register(descriptor, select.POLLIN)
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise PluginError(IO_FAILURE, f"it did not end within {seconds:g} seconds, and was killed", plugin=name)
            ready = [descriptor for descriptor, _ in poll.poll(left * 1000)]
            for descriptor in ready:
                if descriptor != ended and not _read_some(descriptor, heard[descriptor], name):
                    poll.unregister(descriptor)
            if ready == [ended]:  # over, and nothing more to read
                break
    finally:
        os.close(ended)
    output, *complaint = heard.values()
    return bytes(output), bytes(complaint[0]) if complaint else b""


def _read_some(descriptor: int, heard: bytearray, name: str) -> bool:
    """Whether there may be more."""
    piece = os.read(descriptor, 1 << 16)
    heard += piece
    if len(heard) > MOST_OUTPUT:
        raise PluginError(IO_FAILURE, f"it printed more than {MOST_OUTPUT >> 20} MiB, and was killed", plugin=name)
    return bool(piece)


def _short(text: str) -> str:
    return repr(text if len(text) <= 400 else f"{text[:200]} ... {text[-200:]}")


def _signal(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
