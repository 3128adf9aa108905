"""``containerd-shim-mini-v2``: the program that a daemon starts.

::

    -namespace NS -address SOCKET -publish-binary PATH -id ID [-debug] start
        leave a server behind, print where it listens, end; the working directory is the bundle
    ... [-bundle PATH] delete
        the server is dead: kill and remove what is left of the container, print a DeleteResponse
    zygote
        do these commands for whoever is at the other end of standard input, a socket
    -v, -info
        say what this is

``start`` forks instead of starting a second Python: the listening socket is ready before the daemon hears of it, so
the child may take its time to import the rest while the daemon connects. Containers of one pod share a shim: the
address is made from the pod's id, and if somebody answers there already, that address is the answer. Our own daemon
keeps a *zygote*, which does the same commands without starting a Python at all (zygote.py).

How to answer depends on who asks. A 1.6 daemon reads an address; a 2.x daemon reads JSON with a version, and lets
itself be known by $MAX_SHIM_VERSION or by a BootstrapParams message on our standard input.

Source: containerd@301026e core/runtime/v2/{binary,shim}.go, cmd/containerd-shim-runc-v2/manager/manager_linux.go.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from ...errors import ContainerdError, InvalidArgument
from ...linux import process
from .. import shelter
from ..flags import SWITCH, VALUE, Flags, parse

NAME = "containerd-shim-mini-v2"
RELEASE = "0.1.0"
SOCKETS = "/run/containerd/s"
PATIENCE_SECONDS = 10.0
"""How long a server without containers waits for somebody to connect."""

FLAGS = {
    **dict.fromkeys(("namespace", "address", "publish-binary", "id", "bundle", "socket", "socket-dir"), VALUE),
    **dict.fromkeys(("debug", "v", "info"), SWITCH),
}
_GROUPS = ("io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id")
"""Annotations whose value containers share that share a shim; the first that is there counts."""


class Server(NamedTuple):
    """A server still to be: its *listener* at *path*, whose containers it will have, where its events go."""

    listener: socket.socket
    path: str
    namespace: str
    events: str


def main() -> NoReturn:
    """Do what the command line says; the status for the daemon."""
    status = 0
    try:
        if sys.argv[1:] == ["zygote"] or sys.argv[-1:] == ["start"]:
            shelter.enter()
        if sys.argv[1:] == ["zygote"]:
            from .zygote import serve_forks

            serve_forks()
        else:
            output, server = carry_out(sys.argv[1:], _standard_input)
            if server is not None and os.fork() == 0:
                stay(server)
            sys.stdout.buffer.write(output)
            sys.stdout.buffer.flush()
    except (ContainerdError, OSError, ValueError) as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        status = 1
    os._exit(status)


def carry_out(arguments: list[str], given: Callable[[], bytes]) -> tuple[bytes, Server | None]:
    """Do what *arguments* say, with *given* as standard input: what is to be printed, and who is to :func:`stay`.

    Raises:
        InvalidArgument: the arguments are no command.
        ContainerdError, OSError: it failed; the words are for the daemon.
    """
    flags, words = parse(arguments, FLAGS, {})
    if flags.on("v"):
        return f"{NAME}:\n  Version:  {RELEASE}\n".encode(), None
    if flags.on("info"):
        from .inform import inform

        return inform(NAME, RELEASE), None
    if words == ["start"]:
        return start(flags, given())
    if words == ["delete"]:
        from .inform import delete

        return delete(flags.value("namespace"), flags.value("bundle") or os.getcwd(), flags.value("id")), None
    raise InvalidArgument("a shim is started by containerd; the commands are start and delete")


def _standard_input() -> bytes:
    return b"" if sys.stdin.isatty() else sys.stdin.buffer.read()


def start(flags: Flags, params: bytes) -> tuple[bytes, Server | None]:
    """Bind the socket; the address to print, and the server, unless one of the same group is there already."""
    id, namespace = flags.value("id"), flags.value("namespace")
    path = socket_path(
        flags.value("address"), namespace, _group(os.getcwd()) or id, flags.value("socket-dir") or SOCKETS
    )
    address = f"unix://{path}"
    answer = _answer(address, is_second_generation(params, id)).encode()
    listener = _bind(path)
    try:
        # Before anybody is told: a daemon that dies now leaves a bundle that says where we are.
        with open("address", "w", encoding="utf-8") as file:
            file.write(address)
    except OSError:
        if listener is not None:
            os.unlink(path)
        raise
    if listener is None:
        return answer, None
    return answer, Server(listener, path, namespace, _events_address(params, id))


def socket_path(address: str, namespace: str, id: str, folder: str = SOCKETS) -> str:
    """Where the shim of *id* listens: a hash, for the names together may be longer than a socket's path can be.

    >>> socket_path("/run/containerd/containerd.sock", "default", "web")[:24]
    '/run/containerd/s/2cde44'
    """
    name = os.path.normpath("/".join((address, namespace, id)))
    return f"{folder}/{hashlib.sha256(name.encode()).hexdigest()}"


def is_second_generation(params: bytes, id: str) -> bool:
    """Whether a 2.x daemon asks. Its BootstrapParams begin with our id as field 1; 1.6 sends options or nothing."""
    first_field = b"\x0a" + bytes([min(len(id), 127)]) + id.encode()
    return "MAX_SHIM_VERSION" in os.environ or params.startswith(first_field)


def _answer(address: str, second_generation: bool) -> str:
    if second_generation:
        return json.dumps({"version": 3, "address": address, "protocol": "ttrpc"}, separators=(",", ":"))
    return address


def _group(bundle: str) -> str:
    with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
        annotations = json.load(file).get("annotations") or {}
    return next((str(annotations[label]) for label in _GROUPS if label in annotations), "")


def _bind(path: str) -> socket.socket | None:
    """The listening socket, or None if a shim of the same group listens there already."""
    from .server import answers, listen

    os.makedirs(os.path.dirname(path), mode=0o711, exist_ok=True)
    try:
        return listen(path)
    except OSError:
        if answers(path):
            return None
        os.unlink(path)  # of a shim that was killed
        return listen(path)


def _events_address(params: bytes, id: str) -> str:
    if "TTRPC_ADDRESS" in os.environ or not params:
        return os.environ.get("TTRPC_ADDRESS", "")
    if not is_second_generation(params, id):
        return ""
    from ...api.runtime.bootstrap.v1.bootstrap_pb2 import BootstrapParams

    return BootstrapParams.FromString(params).containerd_ttrpc_address


def stay(server: Server) -> NoReturn:
    """The server's whole life, in a session of its own: whatever happens to the daemon does not happen to it."""
    status = 1
    try:
        os.setsid()
        _leave_streams()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)  # as containerd's shim: only Shutdown, or SIGKILL, ends it
        process.set_child_subreaper()
        _spare_from_oom()
        serve(server)
        status = 0
    except BaseException as error:
        import traceback

        print(f"time={time.time():.0f} level=error msg={error!r}", file=sys.stderr)
        traceback.print_exc()
    finally:
        os._exit(status)


def serve(given: Server) -> None:
    """Serve the Task service in both its versions, whose messages are the same, until Shutdown.

    A daemon that dies between ``start`` and its first call has left us behind: without a container and without
    anybody who could bring one, we leave too.
    """
    from .loop import Loop
    from .publisher import Publisher
    from .server import Server
    from .service import Service

    loop = Loop()
    service = Service(loop, Publisher(loop, given.events, given.namespace), given.namespace)
    server = Server(loop, given.listener, given.path)
    service.on_leaving = server.stop_listening
    for version in ("v2", "v3"):
        server.add(f"containerd.task.{version}.Task", service.methods())

    def end_if_forgotten() -> None:
        if not server.is_connected and service.is_empty:
            loop.stop()

    def left_alone() -> None:
        if service.is_empty:
            loop.later(PATIENCE_SECONDS, end_if_forgotten)

    server.left_alone = left_alone
    left_alone()
    try:
        loop.run()
    finally:
        server.close()


def _leave_streams() -> None:
    """Standard streams of our own: the daemon reads ``start``'s output to its end, and that must not be ours.

    What we have to say goes to the FIFO ``log`` in the bundle, which the daemon reads. Opened for both directions it
    neither blocks nor breaks when the daemon is gone; unread words beyond its buffer are lost.
    """
    null = os.open(os.devnull, os.O_RDWR)
    try:
        log = os.open("log", os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        log = os.dup(null)
    for source, target in ((null, 0), (null, 1), (log, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)


def _spare_from_oom() -> None:
    """One more than the daemon: of the two, the kernel should rather kill the shim. Where allowed, that is."""
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        process.set_oom_score(min(1000, int(file.read()) + 1))
