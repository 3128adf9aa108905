"""A container's record on disk: what has to be known to find it again, from any process.

::

    ROOT/ID/state.json   the record below; replaced as a whole, by rename
    ROOT/ID/exec.fifo    there from create until start: the init process waits at its other end
    ROOT/ID/start.fifo   only where hooks have to be waited for: by it, init tells start how they went

The status is not written down, for it would be wrong the moment a process dies. It is worked out on each question::

    creating ── create is at work, and has not answered yet
    created  ── the process lives, and exec.fifo is there
    running  ── the process lives, and exec.fifo is gone
    paused   ── like either of them, and its cgroup is frozen
    stopped  ── the process is gone, or its number belongs to a later one

Source: runtime-spec 1.3 runtime.md#state; the folder's layout is runc's.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidArgument, NotFound
from ..linux import cgroup, disk, process

if TYPE_CHECKING:
    from ..oci.runtime import Spec

VERSION = "1.3.0"
"""The runtime-spec that this runtime follows; our own config.json and ``features`` claim it."""

DEFAULT_ROOT = "/run/minirunc"


def default_root() -> str:
    """Where containers are kept if nobody says: an ordinary user has a folder below /run of its own."""
    own = os.environ.get("XDG_RUNTIME_DIR")
    return f"{own}/minirunc" if own and os.geteuid() != 0 else DEFAULT_ROOT


RECORD = "state.json"
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


class Container(NamedTuple):
    """One container. *created* is in RFC 3339, *start_time* in clock ticks, *cgroup* a folder of the host.

    *unit* is the name of systemd's unit that the cgroup belongs to, if it belongs to one.
    """

    root: str
    id: str
    bundle: str
    rootfs: str
    created: str
    config: Spec
    cgroup: str
    pid: int = 0
    start_time: int = 0
    creating: bool = False
    unit: str = ""

    @property
    def folder(self) -> str:
        return os.path.join(self.root, self.id)

    @property
    def fifo(self) -> str:
        return os.path.join(self.folder, "exec.fifo")

    @property
    def answer(self) -> str:
        return os.path.join(self.folder, "start.fifo")

    def is_alive(self) -> bool:
        return self.pid > 0 and process.is_alive(self.pid, self.start_time)

    def status(self) -> str:
        """One of the words of the table above, true at this moment."""
        if self.creating and (self.pid == 0 or self.is_alive()):
            return "creating"
        if not self.is_alive():
            return "stopped"
        if self.is_frozen():
            return "paused"
        return "created" if os.path.exists(self.fifo) else "running"

    def is_frozen(self) -> bool:
        try:
            return cgroup.events(self.cgroup).get("frozen") == 1
        except OSError:
            return False  # the cgroup is gone

    def namespace_names(self) -> list[str]:
        return [namespace["type"] for namespace in self.config.get("linux", {}).get("namespaces", [])]

    def save(self) -> None:
        """Replace state.json, so that a reader finds the old record or the new one."""
        record = self._asdict()
        del record["root"]
        draft = os.path.join(self.folder, f".state.{os.getpid()}")
        disk.write_file(draft, json.dumps(record).encode(), 0o600)
        disk.rename(draft, os.path.join(self.folder, RECORD))


def load(root: str, id: str) -> Container:
    """The record of container *id*.

    Raises:
        InvalidArgument: *id* is no name for a container.
        NotFound: there is none.
    """
    check_id(id)
    try:
        with open(os.path.join(root, id, RECORD), encoding="utf-8") as file:
            record: dict[str, Any] = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("container does not exist") from None
    return Container(root=root, **record)


def load_all(root: str) -> list[Container]:
    """Every container below *root*, by name; a folder whose create is not that far yet is left out."""
    found = []
    for id in sorted(os.listdir(root)) if os.path.isdir(root) else []:
        try:
            found.append(load(root, id))
        except (NotFound, InvalidArgument):
            continue
    return found


def check_id(id: str) -> None:
    """Refuse what cannot be the name of a folder of its own; these characters are the ones runc takes.

    Raises:
        InvalidArgument: in runc's words.
    """
    if not id or id in (".", "..") or not _ID_CHARACTERS.issuperset(id):
        raise InvalidArgument("container id cannot be empty" if not id else "invalid container ID format")


def now() -> str:
    """This moment in RFC 3339 with nanoseconds, as Go's encoding writes it."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09}Z"
