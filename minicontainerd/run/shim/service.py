"""The Task service: what a daemon may ask of a shim about its containers.

Three promises about order, which clients build on:

- the start event of a process comes before its exit event, however short it lived;
- the exit event of the container's first process is the last exit event of that container;
- whoever waits is answered after the exit event is on its way.

They cost little here, for everything happens in one loop (see the package's first page). Only the second needs care:
an exit of the first process is held back while processes of ``exec`` are still running.

Source: containerd@301026e api/runtime/task/v3/shim.proto, cmd/containerd-shim-runc-v2/task/service.go.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from ...api.any import pack, unpack, unpack_json
from ...api.events import task_pb2 as events
from ...api.runtime.task.v3 import shim_pb2 as api
from ...api.types.runc.options.oci_pb2 import Options, ProcessDetails
from ...api.types.task.task_pb2 import ProcessInfo
from ...errors import (
    AlreadyExists,
    ContainerdError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
    Unimplemented,
    Unknown,
)
from ...linux.mount_list import mount_all
from ...linux.tell import step
from ..explain import explained
from ..words import sentence
from . import stats
from .choice import choose
from .cleanup import unmount_rootfs
from .container import Container, load_config, watch_memory
from .driver import Wanted
from .process import Process, kill_process
from .server import Handler, Later
from .streams import Streams, Terminal

if TYPE_CHECKING:
    from .loop import Loop
    from .publisher import Publisher


_TELLING_SECONDS = 5.0
"""How long a shim that leaves waits for a daemon that has not heard every event."""

_TOLD = {"Create", "Start", "Kill", "Delete", "Pause", "Resume", "Update"}
"""The methods that are part of a container's story (../explain.py)."""


class Service:
    """The methods, by their names in the proto; each takes the request and returns the answer."""

    def __init__(self, loop: Loop, publisher: Publisher, namespace: str) -> None:
        self._loop = loop
        self._publisher = publisher
        self._namespace = namespace
        self._containers: dict[str, Container] = {}
        self._leaving = False
        self.on_leaving: Callable[[], None] = lambda: None
        """Called when it was asked to leave, and will: from now on others may have the address."""
        loop.reap(self._ended)

    @property
    def is_empty(self) -> bool:
        """Whether it has no container."""
        return not self._containers

    def methods(self) -> dict[str, tuple[type[Message], Handler]]:
        """Every method of the service with the class of its request."""
        service = api.DESCRIPTOR.services_by_name["Task"]
        return {
            method.name: (getattr(api, method.input_type.name), self._explaining(getattr(self, method.name)))
            for method in service.methods
        }

    def _explaining(self, handler: Handler) -> Handler:
        """*handler*, told to whom the container's config names."""

        def told(request: Any) -> Message | Later:
            container = self._containers.get(request.id)
            if container is None:  # also before Create, which tells by itself
                return handler(request)
            with explained(container.config, by="shim"):
                return handler(request)

        return told if handler.__name__ in _TOLD else handler

    def Create(self, request: api.CreateTaskRequest) -> api.CreateTaskResponse:
        if self._leaving:
            raise Unavailable("the shim is leaving")
        if request.id in self._containers:
            raise AlreadyExists(f"container {request.id}")
        if request.checkpoint:
            raise Unimplemented("restoring from a checkpoint needs CRIU, which this shim does not drive")
        options = unpack(request.options, Options) if request.options.value else Options()
        driver = choose(request.bundle, self._namespace, options)
        container = Container(request.id, request.bundle, driver, load_config(request.bundle))
        wanted = Wanted(request.terminal, options.no_pivot_root, not options.no_new_keyring)
        with explained(container.config, by="shim"):
            process = container.processes[""] = self._create(container, request, wanted)
        self._containers[request.id] = container
        watch_memory(container, self._loop, lambda: self._publish("oom", events.TaskOOM(container_id=container.id)))
        places = {"stdin": request.stdin, "stdout": request.stdout, "stderr": request.stderr}
        created = events.TaskCreate(container_id=request.id, bundle=request.bundle, rootfs=request.rootfs)
        created.io.CopyFrom(events.TaskIO(**places, terminal=request.terminal))
        created.pid = process.pid
        self._publish("create", created)
        return api.CreateTaskResponse(pid=process.pid)

    def _create(self, container: Container, request: api.CreateTaskRequest, wanted: Wanted) -> Process:
        process = Process(request.id, "", (request.stdin, request.stdout, request.stderr), request.terminal)
        try:
            os.makedirs(container.rootfs, mode=0o711, exist_ok=True)
            with step("mount the snapshot as the container's rootfs", spec="overlayfs.rst"):
                mount_all(request.rootfs, container.rootfs)
            self._launch(process, lambda streams: container.driver.create(request.id, request.bundle, streams, wanted))
        except BaseException as error:
            process.close()
            if request.rootfs:
                unmount_rootfs(container.rootfs)
            raise _told(error, "OCI runtime create failed") from error
        return process

    def Start(self, request: api.StartRequest) -> api.StartResponse:
        container, process = self._find(request)
        if process.is_first:
            process.require("created", what="start")
            try:
                container.driver.start(container.id)
            except ContainerdError as error:
                raise _told(error, "OCI runtime start failed") from error
            started: Message = events.TaskStart(container_id=container.id, pid=process.pid)
        else:
            self._start_exec(container, process)
            started = events.TaskExecStarted(container_id=container.id, exec_id=process.exec_id, pid=process.pid)
        process.status = "running"
        self._publish("start" if process.is_first else "exec-started", started)
        return api.StartResponse(pid=process.pid)

    def _start_exec(self, container: Container, process: Process) -> None:
        process.require("created", what="start")
        if container.first.status == "stopped" or container.held_exit is not None:
            raise FailedPrecondition(f"container {container.id} init process is not running")
        try:
            self._launch(
                process,
                lambda streams: container.driver.exec(
                    container.id, process.exec_id, container.bundle, process.spec, streams
                ),
            )
        except BaseException as error:
            process.close()
            process.exited(255)  # it never lived, and can only be deleted
            raise _told(error, "OCI runtime exec failed") from error

    def Delete(self, request: api.DeleteRequest) -> api.DeleteResponse:
        container, process = self._find(request)
        process.require("created", "stopped", what="delete")
        if process.is_first:
            self._delete_container(container)
            del self._containers[container.id]
            self._publish(
                "delete",
                events.TaskDelete(
                    container_id=container.id,
                    pid=process.pid,
                    exit_status=process.exit_status,
                    exited_at=process.exited_at,
                ),
            )
        else:
            del container.processes[process.exec_id]
        process.close()
        return api.DeleteResponse(pid=process.pid, exit_status=process.exit_status, exited_at=process.exited_at)

    def _delete_container(self, container: Container) -> None:
        try:
            container.driver.delete(container.id)
        except ContainerdError as error:
            if "does not exist" not in str(error):
                raise _told(error, "failed to delete task") from error
        with contextlib.suppress(FileNotFoundError):
            os.unlink(
                os.path.join(container.bundle, "init.pid")
            )  # or the next to clean up here would tell its end again
        with step("unmount the rootfs; its snapshot stays"):
            unmount_rootfs(container.rootfs)

    def Exec(self, request: api.ExecProcessRequest) -> Empty:
        container = self._container(request.id)
        if request.exec_id in container.processes:
            raise AlreadyExists(f"id {request.exec_id}")
        if not request.exec_id:
            raise InvalidArgument("an exec needs an id")
        container.first.require("created", "running", "paused", what="exec")
        places = (request.stdin, request.stdout, request.stderr)
        process = Process(container.id, request.exec_id, places, request.terminal)
        process.spec = unpack_json(request.spec)
        process.spec["terminal"] = request.terminal
        container.processes[request.exec_id] = process
        self._publish("exec-added", events.TaskExecAdded(container_id=container.id, exec_id=request.exec_id))
        return Empty()

    def State(self, request: api.StateRequest) -> api.StateResponse:
        container, process = self._find(request)
        return process.state(container.bundle)

    def Wait(self, request: api.WaitRequest) -> api.WaitResponse | Later:
        _, process = self._find(request)
        return process.wait()

    def Kill(self, request: api.KillRequest) -> Empty:
        container, process = self._find(request)
        if process.status == "stopped" or (process.is_first and container.held_exit is not None and not request.all):
            raise NotFound("process already finished")
        try:
            if process.is_first:
                container.driver.kill(container.id, request.signal, request.all)
            elif process.pid == 0:
                raise FailedPrecondition("process not created")
            else:
                kill_process(process.pid, request.signal)
        except ProcessLookupError:
            raise NotFound("process already finished") from None
        except ContainerdError as error:
            raise _kill_error(error) from error
        return Empty()

    def Pids(self, request: api.PidsRequest) -> api.PidsResponse:
        container = self._container(request.id)
        by_pid = {process.pid: process.exec_id for process in container.processes.values() if process.exec_id}
        answer = api.PidsResponse()
        for pid in container.driver.pids(container.id):
            info = pack(ProcessDetails(exec_id=by_pid[pid])) if pid in by_pid else None
            answer.processes.append(ProcessInfo(pid=pid, info=info))
        return answer

    def Pause(self, request: api.PauseRequest) -> Empty:
        container = self._container(request.id)
        container.first.require("running", what="pause")
        try:
            container.driver.pause(container.id)
        except ContainerdError as error:
            raise _told(error, "OCI runtime pause failed") from error
        container.first.status = "paused"
        self._publish("paused", events.TaskPaused(container_id=container.id))
        return Empty()

    def Resume(self, request: api.ResumeRequest) -> Empty:
        container = self._container(request.id)
        container.first.require("paused", what="resume")
        try:
            container.driver.resume(container.id)
        except ContainerdError as error:
            raise _told(error, "OCI runtime resume failed") from error
        container.first.status = "running"
        self._publish("resumed", events.TaskResumed(container_id=container.id))
        return Empty()

    def Checkpoint(self, request: api.CheckpointTaskRequest) -> Empty:
        raise Unimplemented("a checkpoint needs CRIU, which this shim does not drive")

    def ResizePty(self, request: api.ResizePtyRequest) -> Empty:
        _, process = self._find(request)
        process.resize(request.height, request.width)
        return Empty()

    def CloseIO(self, request: api.CloseIORequest) -> Empty:
        _, process = self._find(request)
        if request.stdin:
            process.close_input()
        return Empty()

    def Update(self, request: api.UpdateTaskRequest) -> Empty:
        container = self._container(request.id)
        container.first.require("created", "running", "paused", what="update")
        container.driver.update(container.id, unpack_json(request.resources))
        return Empty()

    def Stats(self, request: api.StatsRequest) -> api.StatsResponse:
        container = self._container(request.id)
        folder = container.cgroup()
        if folder is None:
            raise NotFound("cgroup does not exist")
        return api.StatsResponse(stats=pack(stats.collect(folder)))

    def Connect(self, request: api.ConnectRequest) -> api.ConnectResponse:
        container = self._containers.get(request.id)
        return api.ConnectResponse(shim_pid=os.getpid(), task_pid=container.first.pid if container else 0)

    def Shutdown(self, request: api.ShutdownRequest) -> Empty:
        if self.is_empty and not self._leaving:
            self._leaving = True
            self.on_leaving()
            self._loop.later(0, self._end_when_told)
            self._loop.later(_TELLING_SECONDS, self._loop.stop)
        return Empty()

    def _end_when_told(self) -> None:
        """Stop once the answer is out and the daemon has heard every event."""
        if self._publisher.idle:
            self._loop.stop()
        else:
            self._loop.later(0.01, self._end_when_told)

    def _ended(self, pid: int, status: int) -> None:
        """A child has ended. Most are processes of containers; the rest were orphans that came to us."""
        for container in self._containers.values():
            for process in container.processes.values():
                if process.pid == pid and process.status in ("created", "running", "paused"):
                    if process.is_first:
                        self._first_ended(container, status)
                    else:
                        self._finish(container, process, status)
                    return

    def _first_ended(self, container: Container, status: int) -> None:
        container.held_exit = status
        if container.outlives_its_first():
            try:
                container.driver.kill(container.id, 9, True)
            except ContainerdError:
                pass  # there is nobody left to be killed
        self._release(container)

    def _finish(self, container: Container, process: Process, status: int) -> None:
        process.exited(status)
        self._publish(
            "exit",
            events.TaskExit(
                container_id=container.id,
                id=process.name,
                pid=process.pid,
                exit_status=status,
                exited_at=process.exited_at,
            ),
        )
        process.tell_waiters()
        self._release(container)

    def _release(self, container: Container) -> None:
        """Tell the exit of the first process, if there is one and no other process still runs."""
        others = any(each.status == "running" for each in container.processes.values() if not each.is_first)
        if container.held_exit is not None and not others:
            status, container.held_exit = container.held_exit, None
            self._finish(container, container.first, status)

    def _launch(self, process: Process, run: Any) -> None:
        """Open the process's streams, *run* it with them, and keep what has to be kept."""
        if process.wants_terminal:
            with open(os.devnull, "r+b") as null:
                process.pid, master = run((null.fileno(),) * 3)
            process.terminal = Terminal(self._loop, master, process.stdin, process.stdout)
            return
        places = (process.stdin, process.stdout, process.stderr)
        process.streams = Streams(*places, id=process.name, namespace=self._namespace)
        process.pid, _ = run(process.streams.for_child)
        process.streams.started()

    def _container(self, id: str) -> Container:
        container = self._containers.get(id)
        if container is None:
            raise NotFound("container not created")
        return container

    def _find(self, request: Any) -> tuple[Container, Process]:
        container = self._container(request.id)
        return container, container.find(request.exec_id)

    def _publish(self, topic: str, event: Message) -> None:
        self._publisher.publish(f"/tasks/{topic}", event)


def _told(error: BaseException, what: str) -> BaseException:
    """*error* in the words that containerd's shim puts before a runtime's own."""
    return Unknown(f"{what}: {sentence(error)}") if isinstance(error, ContainerdError | OSError) else error


def _kill_error(error: ContainerdError) -> ContainerdError:
    words = str(error).lower()
    if any(known in words for known in ("already finished", "container not running", "no such process")):
        return NotFound("process already finished")
    if "does not exist" in words:
        return NotFound("no such container")
    return error
