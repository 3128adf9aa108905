"""Tasks: for each running container its shim, found by namespace and id.

The manager owns the way in and the way out. In: a bundle is laid out, a shim started in it, the shim told to create.
If any step fails, the steps before it are undone. Out: the shim is told to delete and to shut down, then the bundle
goes. In between it only hands calls on.

Two more ways lead here. A daemon that starts looks through the bundles on disk and finds each shim again. And a shim
that dies on its own is noticed by its connection: its binary is run with ``delete``, and the two events that
it can no longer send, exit with 137 and delete, are sent in its place.

Source: containerd@301026e core/runtime/v2/{task_manager,shim,shim_load}.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from minicontainerd.api import timestamp
from minicontainerd.api.events.task_pb2 import TaskDelete, TaskExit
from minicontainerd.api.runtime.task.v3 import shim_pb2 as task
from minicontainerd.daemon import shim as shims
from minicontainerd.daemon.blocking import call
from minicontainerd.daemon.bundle import Bundle, find_all
from minicontainerd.daemon.events import Exchange
from minicontainerd.daemon.launcher import Launcher, find_binary
from minicontainerd.daemon.shim import Shim
from minicontainerd.errors import AlreadyExists, ContainerdError, DeadlineExceeded, NotFound

log = logging.getLogger(__name__)

REMOVAL_TRIES = 3
DEAD = 137
"""The exit status of a container whose shim died: nobody knows better."""

Key = tuple[str, str]


class TaskManager:
    """All tasks of all namespaces."""

    def __init__(self, root: Path, state: Path, launcher: Launcher, exchange: Exchange) -> None:
        self._root = root
        self._state = state
        self._launcher = launcher
        self._exchange = exchange
        self._shims: dict[Key, Shim] = {}
        self._creating: set[Key] = set()
        self._watching: dict[Key, asyncio.Task[None]] = {}
        self._leaving: dict[Key, asyncio.Task[None]] = {}

    def get(self, namespace: str, id: str) -> Shim:
        """The shim of a task.

        Raises:
            NotFound: that container has no task.
        """
        shim = self._shims.get((namespace, id))
        if shim is None:
            raise NotFound(f"task {id} not found")
        return shim

    def list(self, namespace: str) -> Iterator[Shim]:
        """The shims of a namespace's tasks, by id."""
        return iter([shim for key, shim in sorted(self._shims.items()) if key[0] == namespace])

    async def create(
        self, namespace: str, runtime: str, options: Any | None, spec: bytes, request: task.CreateTaskRequest
    ) -> int:
        """Start a shim for the container and have it create the task; answers the pid of its first process.

        Raises:
            AlreadyExists: the container has a task.
            NotFound: there is no such shim program.
            ContainerdError: whatever the shim answered. Nothing is left.
        """
        key = (namespace, request.id)
        if key in self._shims or key in self._creating:
            raise AlreadyExists(f"task {request.id}")
        self._creating.add(key)
        bundle = Bundle.at(self._state, self._root, *key)
        try:
            binary = find_binary(runtime)
            if key in self._leaving:
                await asyncio.wait([self._leaving[key]])
            await call(bundle.create, spec)
            try:
                return await self._start(bundle, binary, options, request)
            except BaseException:
                await _discard(bundle)
                raise
        finally:
            self._creating.discard(key)

    async def _start(self, bundle: Bundle, binary: str, options: Any | None, request: task.CreateTaskRequest) -> int:
        try:
            shim = await Shim.start(bundle, binary, self._launcher, options)
        except ContainerdError as error:
            raise type(error)(f"failed to start shim: start failed: {error}") from error
        request.bundle = str(bundle.path)
        try:
            created = await shim.call("Create", request, task.CreateTaskResponse)
        except BaseException as error:
            await shim.end()
            with contextlib.suppress(ContainerdError):  # what the shim itself could not undo, its binary can
                await shims.delete_dead(bundle, self._launcher)
            if isinstance(error, ContainerdError):
                raise type(error)(f"failed to create shim task: {error}") from error
            raise
        self._add(shim)
        return created.pid

    async def delete(self, namespace: str, id: str) -> task.DeleteResponse:
        """Remove a task that has stopped, its shim and its bundle; answers how it ended.

        Raises:
            NotFound: that container has no task.
            FailedPrecondition: it runs.
        """
        shim = self.get(namespace, id)
        ended = await shim.call("Delete", task.DeleteRequest(id=id), task.DeleteResponse)
        self._remove(shim)
        # The container is gone, which is all that was asked for; its client need not wait for the rest.
        self._leaving[namespace, id] = asyncio.create_task(self._leave(shim), name=f"leave {namespace}/{id}")
        return ended

    async def _leave(self, shim: Shim) -> None:
        try:
            await shim.end()
            await _discard(shim.bundle)
        finally:
            self._leaving.pop((shim.bundle.namespace, shim.bundle.id), None)

    async def load(self) -> None:
        """Find again the shims that an earlier daemon started, and clean up after those that are gone."""
        for bundle in await call(lambda: list(find_all(self._state, self._root))):
            try:
                self._add(await self._find(bundle))
            except (ContainerdError, OSError) as error:
                log.warning("task %s/%s has no shim any more: %s", bundle.namespace, bundle.id, error)
                await self._clean_up(bundle)

    async def _find(self, bundle: Bundle) -> Shim:
        """The shim of *bundle*, if it lives and has the container.

        Raises:
            NotFound: it has not; the daemon died before it could say ``Create``. The shim is gone now.
            Unavailable: nobody answers.
        """
        shim = await Shim.reattach(bundle)
        request = task.ConnectRequest(id=bundle.id)
        try:
            answer = await shim.call("Connect", request, task.ConnectResponse, timeout=shims.ANSWER_SECONDS)
            if not answer.task_pid:
                raise NotFound("its shim has no container")
        except DeadlineExceeded:  # somebody is there; a busy machine is no reason to end a container
            log.warning("the shim of %s/%s is slow to answer", bundle.namespace, bundle.id)
        except BaseException:
            await shim.end()
            raise
        return shim

    async def disconnect(self) -> None:
        """Let go of every shim; they and their containers go on."""
        for watching in self._watching.values():
            watching.cancel()
        await asyncio.gather(*self._watching.values(), *self._leaving.values(), return_exceptions=True)
        await asyncio.gather(*(shim.close() for shim in self._shims.values()), return_exceptions=True)

    def _add(self, shim: Shim) -> None:
        key = (shim.bundle.namespace, shim.bundle.id)
        self._shims[key] = shim
        self._watching[key] = asyncio.create_task(self._watch(shim), name=f"watch {key}")

    def _remove(self, shim: Shim) -> None:
        key = (shim.bundle.namespace, shim.bundle.id)
        self._shims.pop(key, None)
        watching = self._watching.pop(key, None)
        if watching is not None and watching is not asyncio.current_task():
            watching.cancel()

    async def _watch(self, shim: Shim) -> None:
        """Wait for a shim to die while its task is still here."""
        await shim.client.closed.wait()
        log.warning("the shim of %s/%s is gone", shim.bundle.namespace, shim.bundle.id)
        self._remove(shim)
        await shim.close()
        await self._clean_up(shim.bundle)

    async def _clean_up(self, bundle: Bundle) -> None:
        """What a shim that died can no longer do: end the container, remove the bundle, say so."""
        pid, status, exited_at = 0, DEAD, timestamp.to_wire(timestamp.now())
        if bundle.binary:
            try:
                ended = await shims.delete_dead(bundle, self._launcher)
                pid, status, exited_at = ended.pid, ended.exit_status or DEAD, ended.exited_at
            except (ContainerdError, OSError) as error:
                log.error("cannot clean up after the shim of %s/%s: %s", bundle.namespace, bundle.id, error)
        await _discard(bundle)
        if pid:
            self._tell_end(bundle, pid, status, exited_at)

    def _tell_end(self, bundle: Bundle, pid: int, status: int, exited_at: Timestamp) -> None:
        self._exchange.publish(
            bundle.namespace,
            "/tasks/exit",
            TaskExit(container_id=bundle.id, id=bundle.id, pid=pid, exit_status=status, exited_at=exited_at),
        )
        self._exchange.publish(
            bundle.namespace,
            "/tasks/delete",
            TaskDelete(container_id=bundle.id, pid=pid, exit_status=status, exited_at=exited_at),
        )


async def _discard(bundle: Bundle) -> None:
    """Remove a bundle, whose task is gone already: there is nobody to whom a failure could be told."""
    for _ in range(REMOVAL_TRIES):
        try:
            await call(bundle.delete)
            return
        except OSError as error:
            log.error("cannot remove the bundle of %s/%s: %s", bundle.namespace, bundle.id, error)
