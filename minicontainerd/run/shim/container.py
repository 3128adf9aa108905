"""A container in this shim: its bundle, its runtime, its processes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from ...errors import NotFound
from ...linux import cgroup
from ...oci import shape
from .loop import URGENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...oci.runtime import Spec
    from .driver import Driver
    from .loop import Loop
    from .process import Process


class Container:
    """Its *processes* go by their exec id; "" is the first."""

    def __init__(self, id: str, bundle: str, driver: Driver, config: Spec) -> None:
        self.id = id
        self.bundle = bundle
        self.driver = driver
        self.config = config
        self.processes: dict[str, Process] = {}
        self.held_exit: int | None = None  # of the first process, while others still run

    @property
    def first(self) -> Process:
        return self.processes[""]

    @property
    def rootfs(self) -> str:
        return os.path.join(self.bundle, "rootfs")

    def find(self, exec_id: str) -> Process:
        """The process *exec_id*.

        Raises:
            NotFound: there is none, or it has been deleted.
        """
        process = self.processes.get(exec_id)
        if process is None:
            raise NotFound(f"process does not exist {exec_id}")
        return process

    def outlives_its_first(self) -> bool:
        """Whether processes stay when the first ends, for want of a pid namespace that dies with it."""
        namespaces = self.config.get("linux", {}).get("namespaces") or []
        return not any(each["type"] == "pid" and not each.get("path") for each in namespaces)

    def cgroup(self) -> str | None:
        """The folder of its cgroup; None when the first process is gone."""
        try:
            return cgroup.tree() + cgroup.own(self.first.pid)
        except OSError:
            return None


def load_config(bundle: str) -> Spec:
    """The config.json that the daemon has put into *bundle*; the runtime is who checks it."""
    with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
        config: Spec = json.load(file, object_pairs_hook=shape.without_nulls)
    return config


def watch_memory(container: Container, loop: Loop, killed: Callable[[], None]) -> None:
    """Call *killed* when the OOM killer strikes: the kernel marks memory.events as urgent whenever it changes."""
    folder = container.cgroup()
    if folder is None or not os.path.exists(f"{folder}/memory.events"):
        return
    file = os.open(f"{folder}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
    seen = cgroup.oom_kills(folder)

    def changed(ready: int) -> None:
        nonlocal seen
        os.pread(file, 4096, 0)  # reading it is what clears the mark
        kills = cgroup.oom_kills(folder)
        if kills > seen:
            killed()
        seen = kills
        if not os.path.exists(folder):
            loop.forget(file)
            os.close(file)

    loop.watch(file, URGENT, changed)
