"""Network namespaces to play in: hosts, containers and an outside world that are gone when the test is.

A namespace lives as long as a descriptor of it is open, and its path is that descriptor's in /proc. So there is no
mount and no process to leave behind, and plugins are given a path that they can open as any other.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from minicontainerd.linux.namespaces import CLONE, inside, unshare

REFERENCE = Path("/usr/lib/cni")
"""Debian's containernetworking-plugins."""

_COUNTER = itertools.count()


class Namespace:
    """A network namespace of its own, with nothing in it but ``lo``, down."""

    def __init__(self) -> None:
        first = _new_namespace()
        # A number that is not given out again soon: a path of a namespace that is gone must not become another's.
        self.descriptor = fcntl.fcntl(first, fcntl.F_DUPFD_CLOEXEC, 256 + next(_COUNTER) % 600)
        os.close(first)

    @property
    def path(self) -> str:
        """What CNI_NETNS takes."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def close(self) -> None:
        """Let it end; interfaces go with it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1

    def run(self, *command: str, input: str = "", check: bool = True, **environment: str) -> str:
        """Run a command in it; its standard output."""
        with inside(self.descriptor):
            done = subprocess.run(
                command, input=input, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
            )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout

    def ip(self, *arguments: str) -> Any:
        """What ``ip -json`` says, decoded."""
        return json.loads(self.run("ip", "-json", "-details", *arguments) or "[]")

    def ip_of(self, program: str, *arguments: str) -> Any:
        """The same of another program that takes -json: tc, bridge."""
        return json.loads(self.run(program, "-json", *arguments) or "[]")

    def links(self) -> dict[str, dict[str, Any]]:
        """Its interfaces by their names."""
        return {link["ifname"]: link for link in self.ip("link", "show") if link}

    def addresses(self, name: str, scope: str = "global") -> list[str]:
        """The addresses of an interface, as ``address/length``."""
        found = self.ip("address", "show", "dev", name)
        return [
            f"{each['local']}/{each['prefixlen']}"
            for link in found
            for each in link.get("addr_info", [])
            if each["scope"] == scope
        ]

    def rules(self) -> list[dict[str, Any]]:
        """What nft has, without the line about itself."""
        said = json.loads(self.run("nft", "-j", "list", "ruleset"))["nftables"]
        return [each for each in said if "metainfo" not in each]

    def has(self, text: str) -> bool:
        """Whether any rule, set or chain mentions *text*; the rules of iptables are among nft's."""
        return text in self.run("nft", "list", "ruleset")

    def setting(self, name: str) -> str:
        """A file below /proc/sys/net."""
        with inside(self.descriptor):
            return Path("/proc/sys/net", name).read_text().strip()

    def set(self, name: str, value: str) -> None:
        """Write a file below /proc/sys/net."""
        with inside(self.descriptor):
            Path("/proc/sys/net", name).write_text(value)


@contextlib.contextmanager
def namespaces() -> Iterator[Callable[[], Namespace]]:
    """Makes namespaces, and lets all of them end with the block."""
    made: list[Namespace] = []

    def make() -> Namespace:
        made.append(Namespace())
        made[-1].run("ip", "link", "set", "lo", "up")
        return made[-1]

    try:
        yield make
    finally:
        for each in made:
            each.close()


@contextlib.contextmanager
def connected(
    host: Namespace, outside: Namespace, subnet: str = "192.0.2", subnet6: str = "2001:db8:2:"
) -> Iterator[None]:
    """*outside* is a neighbour of *host* (.1 is the host, .2 the neighbour) that knows no way to networks behind it."""
    host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", outside.path)
    for namespace, name, last in ((host, "uplink", 1), (outside, "eth0", 2)):
        namespace.run("ip", "address", "add", f"{subnet}.{last}/24", "dev", name)
        namespace.run("ip", "address", "add", f"{subnet6}:{last}/64", "dev", name, "nodad")
        namespace.run("ip", "link", "set", name, "up")
    yield


def _new_namespace() -> int:
    """Made by a thread that ends at once: the caller stays where it is."""
    made: list[int | BaseException] = []

    def make() -> None:
        try:
            unshare(CLONE.NEWNET)
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except BaseException as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]


def answers(
    server: Namespace, client: Namespace, address: str, port: int, *, listen: int = 0, kind: str = "tcp"
) -> str:
    """Send a word from *client* to *address* and *port*, while *server* listens on *listen* and sends back who asked.

    Gives the address the server saw, or "" if no answer came within two seconds.
    """
    import socket

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    types = {
        "tcp": (socket.SOCK_STREAM, 0),
        "udp": (socket.SOCK_DGRAM, 0),
        "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
    }
    type_, protocol = types[kind]
    with inside(server.descriptor):
        listener = socket.socket(socket.AF_INET6, type_, protocol)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", listen or port))
    with inside(client.descriptor):
        caller = socket.socket(family, type_, protocol)
    with listener, caller:
        listener.settimeout(2)
        caller.settimeout(2)
        try:
            if kind == "udp":
                caller.sendto(b"who", (address, port))
                _, peer = listener.recvfrom(16)
                listener.sendto(b"you", peer)
            else:
                listener.listen()
                caller.connect((address, port))
                accepted, peer = listener.accept()
                with accepted:
                    accepted.sendall(b"you")
                    caller.recv(16)
                    return str(peer[0]).removeprefix("::ffff:")
            caller.recv(16)
        except (TimeoutError, OSError):
            return ""
    return str(peer[0]).removeprefix("::ffff:")
