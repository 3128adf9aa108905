"""Containers on CNI networks: what a client of containerd does itself, as ``ctr`` does.

The daemon knows nothing of networks. Between the creation of a task and its start, its process waits in a network
namespace that is empty but for ``lo``; that is when the client has CNI plugins attach it::

    create ─▶ attach(namespace, id, pid) ─▶ start ─▶ ... ─▶ delete ─▶ detach(namespace, id)

What was attached is remembered in the library's cache under ``<namespace>-<id>``, with the configuration and arguments
of that time, so :meth:`Networking.detach` needs no more than the name. Upstream: containerd@301026e
cmd/ctr/commands/run/run_unix.go, with its ``gocni``.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minicontainerd.errors import FailedPrecondition, InvalidArgument
from minicontainerd.network import config
from minicontainerd.network.attach import PATH, Cni
from minicontainerd.network.cache import FOLDER, Attachment, Remembered
from minicontainerd.network.config import Network
from minicontainerd.network.plugins.skeleton import called
from minicontainerd.network.result import Result


@dataclass(frozen=True)
class Published:
    """A port of the host that leads to one of the container; *address* is one of the host's, or "" for all."""

    host_port: int
    container_port: int
    protocol: str = "tcp"
    address: str = ""

    def as_json(self) -> dict[str, Any]:
        """As the capability ``portMappings`` has it."""
        ports = {"hostPort": self.host_port, "containerPort": self.container_port, "protocol": self.protocol}
        return {**ports, **({"hostIP": self.address} if self.address else {})}


def published(text: str) -> Published:
    """A port as people write it: ``[ADDRESS:]HOST:CONTAINER[/PROTOCOL]``, an IPv6 address in brackets.

    >>> published("127.0.0.1:8080:80/udp")
    Published(host_port=8080, container_port=80, protocol='udp', address='127.0.0.1')

    Raises:
        InvalidArgument: it is written otherwise.
    """
    ports, _, protocol = text.partition("/")
    rest, _, inner = ports.rpartition(":")
    address, _, host = rest.rpartition(":")
    if not (host.isdecimal() and inner.isdecimal() and 0 < int(host) < 65536 and 0 < int(inner) < 65536):
        raise InvalidArgument(f"port {text!r} is not [ADDRESS:]HOST:CONTAINER[/PROTOCOL]")
    if protocol not in ("", "tcp", "udp", "sctp"):
        raise InvalidArgument(f"port {text!r}: the protocol is tcp, udp or sctp")
    if address:
        address = _address(address, text)
    return Published(int(host), int(inner), protocol or "tcp", address)


def _address(address: str, text: str) -> str:
    """An address in brackets is one of IPv6, another is not."""
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        if (ipaddress.ip_address(bare).version == 6) != (bare != address):
            raise ValueError("an IPv6 address is written in brackets, and no other")
    except ValueError as error:
        raise InvalidArgument(f"port {text!r}: {error}") from error
    return bare


class Networking:
    """Where networks are configured, where plugins are, and where is remembered who is attached."""

    def __init__(
        self, conf_dir: str = config.FOLDER, path: Sequence[str] = PATH, cache: str | os.PathLike[str] = FOLDER
    ) -> None:
        self.conf_dir = conf_dir
        self.cni = Cni(path, cache, call=called)

    def choose(self, names: Sequence[str]) -> list[Network]:
        """The networks called so; without a name the first that is configured.

        Raises:
            NotFound: there is none of the name.
            FailedPrecondition: none is configured at all.
        """
        if names:
            return [config.find(name, self.conf_dir) for name in names]
        there = config.files(self.conf_dir)
        if not there:
            raise FailedPrecondition(
                f"no network is configured in {self.conf_dir} (minicontainerd cni install --network writes one)"
            )
        return [config.load(there[0])]

    def attach(
        self, namespace: str, id: str, pid: int, networks: Sequence[Network], ports: Iterable[Published] = ()
    ) -> list[Result]:
        """Attach the container whose first process is *pid* to each of the *networks*, as eth0, eth1 and so on.

        Raises:
            InvalidArgument: ports are to be published, and no plugin of a network can.
            ContainerdError: one failed; those before it are undone.
        """
        mappings = [port.as_json() for port in ports]
        results: list[Result] = []
        if mappings and not any(_has_capability(network, "portMappings") for network in networks):
            names = ", ".join(network.name for network in networks)
            raise InvalidArgument(f"network {names} cannot publish ports: no plugin has the capability portMappings")
        try:
            for number, network in enumerate(networks):
                told: Mapping[str, Any] = {"portMappings": mappings} if mappings else {}
                asked = Attachment(full_id(namespace, id), f"/proc/{pid}/ns/net", f"eth{number}", capability_args=told)
                results.append(self.cni.add(network, asked))
        except BaseException:
            self.detach(namespace, id)
            raise
        return results

    def detach(self, namespace: str, id: str) -> None:
        """Undo every attachment of a container. One that has none is left alone.

        Raises:
            ExceptionGroup: of what failed; everything was tried.
        """
        failures: list[Exception] = []
        for known in reversed(self.cni.attachments(full_id(namespace, id))):
            try:
                self.cni.delete(config.parse(known.config), Attachment(**{**vars(known.attachment), "netns": ""}))
            except Exception as error:
                failures.append(error)
        if failures:
            raise ExceptionGroup(f"container {id} could not be detached", failures)

    def attached(self, network: str) -> list[Remembered]:
        """Who is attached to a network."""
        return [known for known in self.cni.attachments(network=network) if known.finished]


def full_id(namespace: str, id: str) -> str:
    """A container as CNI knows it: ids of two namespaces may be the same."""
    return f"{namespace}-{id}"


def _has_capability(network: Network, name: str) -> bool:
    return any(plugin.get("capabilities", {}).get(name) is True for plugin in network.plugins)
