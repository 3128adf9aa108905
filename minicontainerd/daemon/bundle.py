"""A bundle: the folder in which a shim finds its container, and a later daemon finds the shim.

::

    state/io.containerd.runtime.v2.task/<namespace>/<id>/    0700
        config.json        the OCI runtime spec
        rootfs/            where the shim mounts the root filesystem
        work               a link to root/io.containerd.runtime.v2.task/<namespace>/<id>, which survives a reboot
        log                a FIFO: what the shim logs
        shim-binary-path   which shim, for the daemon that comes back
        address            where it listens, which the shim itself writes before it says so
        bootstrap.json     how to reach it: address, protocol, version

A bundle goes in two steps, a rename to ``.<id>`` and then the removal, so that no half of one is ever found. Of one
that was only half made there is no shim yet, or one without a container: either goes when the next daemon comes.
Source: containerd@301026e core/runtime/v2/{bundle,binary,shim}.go.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minicontainerd.api import headers
from minicontainerd.errors import AlreadyExists, InvalidArgument
from minicontainerd.linux import disk
from minicontainerd.linux.mount import MNT
from minicontainerd.linux.mount_list import unmount_all

RUNTIME_FOLDER = "io.containerd.runtime.v2.task"


@dataclass(frozen=True)
class Bootstrap:
    """How to reach a shim: ``unix://`` address, ``ttrpc``, and which task API it speaks, 2 or 3."""

    version: int
    address: str
    protocol: str

    @property
    def socket(self) -> str:
        """The path of its unix socket."""
        return self.address.removeprefix("unix://")


def parse_bootstrap(output: bytes) -> Bootstrap:
    """What a shim printed when it started: JSON since containerd 1.7, before that only an address.

    >>> parse_bootstrap(b"unix:///run/s")
    Bootstrap(version=2, address='unix:///run/s', protocol='ttrpc')

    Raises:
        InvalidArgument: it is neither, or asks for something we do not speak.
    """
    text = output.decode(errors="replace").strip()
    if not text.startswith("{"):
        found = Bootstrap(2, text, "ttrpc")
    else:
        try:
            fields = json.loads(text)
            found = Bootstrap(int(fields["version"]), str(fields["address"]), str(fields["protocol"]))
        except (ValueError, KeyError, TypeError):
            raise InvalidArgument(f"the shim printed {text!r}, which is no bootstrap result") from None
    if found.protocol != "ttrpc" or found.version not in (2, 3) or not found.address.startswith("unix://"):
        raise InvalidArgument(f"the shim asks for {found}; only ttrpc on a unix socket, version 2 or 3, is spoken here")
    return found


@dataclass(frozen=True)
class Bundle:
    """The folders of one container; *path* and *work* as above."""

    namespace: str
    id: str
    path: Path
    work: Path

    @classmethod
    def at(cls, state: Path, root: Path, namespace: str, id: str) -> Bundle:
        """The bundle of that name, whether or not it is there.

        Raises:
            InvalidArgument: a name is no identifier, so that it could be no folder's name either.
        """
        headers.identifier(namespace)
        headers.identifier(id)
        return cls(namespace, id, state / RUNTIME_FOLDER / namespace / id, root / RUNTIME_FOLDER / namespace / id)

    def create(self, spec: bytes) -> None:
        """Make the folders and write *spec*.

        Raises:
            AlreadyExists: the bundle is there.
            OSError: it could not be made; nothing of it is left.
        """
        disk.ensure_directory(self.path.parent, 0o711)
        try:
            disk.make_directory(self.path, 0o700)
        except FileExistsError:
            raise AlreadyExists(f"bundle {self.path}") from None
        try:
            self._fill(spec)
        except OSError:
            self.delete()
            raise

    def _fill(self, spec: bytes) -> None:
        disk.make_directory(self.path / "rootfs", 0o711)
        disk.remove_tree(self.work)
        disk.ensure_directory(self.work, 0o711)
        disk.symlink(self.work, self.path / "work")
        disk.write_file(self.path / "config.json", spec)
        disk.make_fifo(self.path / "log", 0o700)

    def delete(self) -> None:
        """Unmount what is mounted inside, and remove everything; a bundle that is gone is no error.

        Raises:
            OSError: something could not be removed. It can be tried again, and is when the next daemon starts.
        """
        unmount_all(str(self.path / "rootfs"), MNT.DETACH | MNT.NOFOLLOW)
        for folder in (self.path, self.work):
            hidden = folder.with_name(f".{folder.name}")
            disk.remove_tree(hidden)  # what a crash left of an earlier one
            with contextlib.suppress(FileNotFoundError):
                disk.rename(folder, hidden)
            disk.remove_tree(hidden)

    @property
    def binary(self) -> str:
        """The program of its shim; empty if none was started yet."""
        try:
            return (self.path / "shim-binary-path").read_text()
        except FileNotFoundError:
            return ""

    def choose(self, binary: str) -> None:
        """Write down which program is about to be started."""
        disk.write_file(self.path / "shim-binary-path", binary.encode())

    def remember(self, bootstrap: Bootstrap) -> None:
        """Write down how to reach the shim."""
        fields = {"version": bootstrap.version, "address": bootstrap.address, "protocol": bootstrap.protocol}
        draft, whole = self.path / "bootstrap.tmp", self.path / "bootstrap.json"
        disk.write_file(draft, json.dumps(fields).encode())
        disk.rename(draft, whole)

    def recall(self) -> Bootstrap | None:
        """What :meth:`remember` wrote, or at least what the shim wrote; None if no shim was ever there."""
        for name in ("bootstrap.json", "address"):
            with contextlib.suppress(FileNotFoundError, InvalidArgument):
                return parse_bootstrap((self.path / name).read_bytes())
        return None


def find_all(state: Path, root: Path) -> Iterator[Bundle]:
    """Every bundle on disk; what a removal left half done is removed."""
    for top in (state, root):
        for folder in sorted((top / RUNTIME_FOLDER).glob("*/*")):
            if folder.name.startswith("."):
                disk.remove_tree(folder)
                continue
            with contextlib.suppress(InvalidArgument):
                bundle = Bundle.at(state, root, folder.parent.name, folder.name)
                if top is state:
                    yield bundle
                elif not bundle.path.exists():
                    disk.remove_tree(folder)  # the other half of a bundle that was lost, to a reboot for one
