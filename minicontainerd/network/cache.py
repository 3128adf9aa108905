"""What is remembered of each attachment: how it was asked for, and what came of it.

CHECK and DEL must be told what ADD resulted in, maybe after a reboot of the caller, so it is written down before ADD
returns. One file an attachment, named and filled as libcni does, so that another CNI caller can end what we began,
and we what it began::

    /var/lib/cni/results/<network>-<container>-<interface>
        {"kind": "cniCacheV1", "containerId": ..., "networkName": ..., "ifName": ..., "netns": ...,
         "config": <the configuration, base64>, "cniArgs": [[k, v]...], "capabilityArgs": {...}, "result": {...}}

A file appears whole or not at all. It is written before the first plugin runs, and again with the result so far after
each, marked as unfinished: a caller killed in the middle of ADD has left word of what must be undone.

Beside the results lies ``minicontainerd.lock``: one attachment of a container at a time, and GC of a network alone with
it. Ranges of this one file are locked, at an offset worked out from the name, so no lock file is left behind for each
container there ever was.

Source: cni@3f51e88 libcni/api.go, ``cachedInfo``; SPEC.md, "Lifecycle & Ordering".
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InvalidArgument
from ..linux.ifname import check_ifname
from .config import Network
from .names import is_name
from .result import Result, read

FOLDER = "/var/lib/cni"
_KIND = "cniCacheV1"
_UNFINISHED = "org.minicontainerd.unfinished"
_FLOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid


@dataclass(frozen=True)
class Attachment:
    """One interface of one container on one network, as the caller asks for it."""

    container_id: str
    netns: str = ""
    ifname: str = "eth0"
    args: tuple[tuple[str, str], ...] = ()
    capability_args: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what would be another file, or another variable, than meant."""
        if not is_name(self.container_id):
            raise InvalidArgument(f"container id {self.container_id!r} must be letters, digits, '_', '.' or '-'")
        check_ifname(self.ifname)
        for word in (word for pair in self.args for word in pair):
            if any(letter in word for letter in ";=\0"):
                raise InvalidArgument(f"CNI_ARGS {word!r}: ';' and '=' have a meaning there")


@dataclass(frozen=True)
class Remembered:
    """An attachment that was made, or begun: then it is not *finished*, and *result* is what there was so far."""

    network: str
    attachment: Attachment
    config: bytes
    result: Result | None
    finished: bool


class Cache:
    """The folder of results."""

    def __init__(self, folder: str | os.PathLike[str] = FOLDER) -> None:
        self.folder = Path(folder)

    def path(self, network: str, attachment: Attachment) -> Path:
        """Where this attachment is written down."""
        return self.folder / "results" / f"{network}-{attachment.container_id}-{attachment.ifname}"

    def remember(self, network: Network, attachment: Attachment, result: Result | None, *, finished: bool) -> None:
        """Write the attachment down, in place of what was there. Once *finished* it is on disk when this returns."""
        told = {
            "kind": _KIND,
            "containerId": attachment.container_id,
            "config": base64.b64encode(network.as_json()).decode(),
            "ifName": attachment.ifname,
            "networkName": network.name,
            "netns": attachment.netns,
            "cniArgs": [list(pair) for pair in attachment.args],
            "capabilityArgs": dict(attachment.capability_args),
            "result": result,
            _UNFINISHED: not finished,
        }
        path = self.path(network.name, attachment)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not a name that GC could take for an attachment: those have no leading dot.
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with open(draft, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump({key: value for key, value in told.items() if value or key == "kind"}, file)
            file.flush()
            if finished:  # of one that is not, nothing is left to undo after a power cut but addresses, for GC
                os.fsync(file.fileno())
        os.rename(draft, path)

    def recall(self, network: str, attachment: Attachment) -> Remembered | None:
        """What is known of the attachment; None if nothing is."""
        return _read(self.path(network, attachment))

    def forget(self, network: str, attachment: Attachment) -> None:
        """Remove what was written down, if it was."""
        self.path(network, attachment).unlink(missing_ok=True)

    def all(self, network: str = "", container_id: str = "") -> list[Remembered]:
        """Every attachment known, of one *network* or one container if named. A damaged file is passed over."""
        try:
            names = sorted(os.listdir(self.folder / "results"))
        except FileNotFoundError:
            return []
        found = [_read(self.folder / "results" / name) for name in names if not name.startswith(".")]
        return [
            each
            for each in found
            if each and network in ("", each.network) and container_id in ("", each.attachment.container_id)
        ]

    @contextlib.contextmanager
    def busy(self, network: str, container_id: str) -> Iterator[None]:
        """Wait until nobody else works at this container, nor collects garbage of the network."""
        with (
            self._locked(fcntl.F_RDLCK, f"network {network}"),
            self._locked(fcntl.F_WRLCK, f"container {container_id}"),
        ):
            yield

    @contextlib.contextmanager
    def alone(self, network: str) -> Iterator[None]:
        """Wait until nobody else adds to or deletes from the network."""
        with self._locked(fcntl.F_WRLCK, f"network {network}"):
            yield

    @contextlib.contextmanager
    def _locked(self, kind: int, name: str) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self.folder / "minicontainerd.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        offset = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
        try:
            # Of an open file, not of a process: threads must wait for each other as well.
            fcntl.fcntl(file, fcntl.F_OFD_SETLKW, _FLOCK.pack(kind, os.SEEK_SET, offset, 1, 0))
            yield
        finally:
            os.close(file)  # and with it the lock


def _read(path: Path) -> Remembered | None:
    """One file. Written by libcni before 2019 it is the bare result, which says too little to use."""
    try:
        told = json.loads(path.read_bytes())
        if told.get("kind") != _KIND:
            return None
        attachment = Attachment(
            container_id=told["containerId"],
            netns=told.get("netns", ""),
            ifname=told["ifName"],
            args=tuple((key, value) for key, value in told.get("cniArgs") or ()),
            capability_args=told.get("capabilityArgs") or {},
        )
        result = read(told["result"]) if told.get("result") else None
        finished = result is not None and not told.get(_UNFINISHED)
        return Remembered(told["networkName"], attachment, base64.b64decode(told["config"]), result, finished)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidArgument):
        return None
