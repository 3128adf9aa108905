"""Tasks: the running side of containers. Nearly every method is a call of the container's shim under the same name.

Source: containerd@301026e plugins/services/tasks/local.go.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from minicontainerd.api import headers, timestamp
from minicontainerd.api.filters import fields, parse
from minicontainerd.api.rpc import Call, interruptible
from minicontainerd.api.runtime.task.v3 import shim_pb2 as shim_api
from minicontainerd.api.services.containers.v1.containers_pb2 import Container
from minicontainerd.api.services.tasks.v1 import tasks_pb2 as api
from minicontainerd.api.types.metrics_pb2 import Metric
from minicontainerd.api.types.task.task_pb2 import Process
from minicontainerd.daemon.shim import Shim
from minicontainerd.daemon.task_manager import TaskManager
from minicontainerd.errors import ContainerdError, InvalidArgument, NotFound
from minicontainerd.store.containers import Containers

M = TypeVar("M", bound=Message)


class TasksService:
    """``containerd.services.tasks.v1.Tasks``."""

    def __init__(self, containers: Containers, tasks: TaskManager) -> None:
        self._containers = containers
        self._tasks = tasks

    def _container(self, id: str, call: Call) -> Container:
        return self._containers.get(call.namespace, id)

    def _shim(self, id: str, call: Call) -> Shim:
        self._container(id, call)
        return self._tasks.get(call.namespace, id)

    async def _process(self, id: str, exec_id: str, call: Call) -> Shim:
        """The shim of a process, which must exist."""
        shim = self._shim(id, call)
        if exec_id:
            await _state(shim, exec_id)
        return shim

    async def create(self, request: api.CreateTaskRequest, call: Call) -> api.CreateTaskResponse:
        """Start the shim and create the container's process; it waits."""
        container = self._container(request.container_id, call)
        runtime = container.runtime
        asked = shim_api.CreateTaskRequest(
            id=request.container_id,
            rootfs=request.rootfs,
            terminal=request.terminal,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        if request.HasField("options"):
            asked.options.CopyFrom(request.options)
        elif runtime.HasField("options"):
            asked.options.CopyFrom(runtime.options)
        options = runtime.options if runtime.HasField("options") else None
        name = request.runtime_path or runtime.name
        pid = await self._tasks.create(call.namespace, name, options, container.spec.value, asked)
        return api.CreateTaskResponse(container_id=request.container_id, pid=pid)

    async def start(self, request: api.StartRequest, call: Call) -> api.StartResponse:
        """Let the process run its program."""
        shim = await self._process(request.container_id, request.exec_id, call)
        asked = shim_api.StartRequest(id=request.container_id, exec_id=request.exec_id)
        return api.StartResponse(pid=(await shim.call("Start", asked, shim_api.StartResponse)).pid)

    async def delete(self, request: api.DeleteTaskRequest, call: Call) -> api.DeleteResponse:
        """Remove a task that has stopped, and its shim."""
        self._container(request.container_id, call)
        ended = await self._tasks.delete(call.namespace, request.container_id)
        return api.DeleteResponse(exit_status=ended.exit_status, exited_at=ended.exited_at, pid=ended.pid)

    async def delete_process(self, request: api.DeleteProcessRequest, call: Call) -> api.DeleteResponse:
        """Remove an added process that has stopped."""
        shim = await self._process(request.container_id, request.exec_id, call)
        asked = shim_api.DeleteRequest(id=request.container_id, exec_id=request.exec_id)
        ended = await shim.call("Delete", asked, shim_api.DeleteResponse)
        return api.DeleteResponse(
            id=request.exec_id, exit_status=ended.exit_status, exited_at=ended.exited_at, pid=ended.pid
        )

    async def get(self, request: api.GetRequest, call: Call) -> api.GetResponse:
        """What a task is doing now."""
        shim = self._shim(request.container_id, call)
        return api.GetResponse(process=await _state(shim, request.exec_id))

    async def list(self, request: api.ListTasksRequest, call: Call) -> api.ListTasksResponse:
        """All tasks of the namespace."""
        found = []
        for shim in self._tasks.list(call.namespace):
            try:
                found.append(await _state(shim, ""))
            except ContainerdError:
                continue  # it ended since we looked
        return api.ListTasksResponse(tasks=found)

    async def kill(self, request: api.KillRequest, call: Call) -> Empty:
        """Send a signal to one process, or to all of the container."""
        shim = await self._process(request.container_id, request.exec_id, call)
        asked = shim_api.KillRequest(
            id=request.container_id, exec_id=request.exec_id, signal=request.signal, all=request.all
        )
        return await shim.call("Kill", asked, Empty)

    async def exec(self, request: api.ExecProcessRequest, call: Call) -> Empty:
        """Add a process; Start runs it."""
        if not request.exec_id:
            raise InvalidArgument("exec id cannot be empty")
        shim = self._shim(request.container_id, call)
        try:
            headers.identifier(request.exec_id)
        except InvalidArgument as error:
            raise InvalidArgument(f"invalid exec id {request.exec_id}: {error}") from None
        asked = shim_api.ExecProcessRequest(
            id=request.container_id,
            exec_id=request.exec_id,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
            terminal=request.terminal,
            spec=request.spec,
        )
        return await shim.call("Exec", asked, Empty)

    async def resize_pty(self, request: api.ResizePtyRequest, call: Call) -> Empty:
        """Tell the terminal its size, in characters."""
        shim = await self._process(request.container_id, request.exec_id, call)
        asked = shim_api.ResizePtyRequest(
            id=request.container_id, exec_id=request.exec_id, width=request.width, height=request.height
        )
        return await shim.call("ResizePty", asked, Empty)

    async def close_io(self, request: api.CloseIORequest, call: Call) -> Empty:
        """Close the standard input."""
        shim = await self._process(request.container_id, request.exec_id, call)
        asked = shim_api.CloseIORequest(id=request.container_id, exec_id=request.exec_id, stdin=request.stdin)
        return await shim.call("CloseIO", asked, Empty)

    async def pause(self, request: api.PauseTaskRequest, call: Call) -> Empty:
        """Freeze the container."""
        shim = self._shim(request.container_id, call)
        return await shim.call("Pause", shim_api.PauseRequest(id=request.container_id), Empty)

    async def resume(self, request: api.ResumeTaskRequest, call: Call) -> Empty:
        """Thaw it."""
        shim = self._shim(request.container_id, call)
        return await shim.call("Resume", shim_api.ResumeRequest(id=request.container_id), Empty)

    async def list_pids(self, request: api.ListPidsRequest, call: Call) -> api.ListPidsResponse:
        """Every process in the container, as the host numbers them."""
        shim = self._shim(request.container_id, call)
        found = await shim.call("Pids", shim_api.PidsRequest(id=request.container_id), shim_api.PidsResponse)
        return api.ListPidsResponse(processes=found.processes)

    async def update(self, request: api.UpdateTaskRequest, call: Call) -> Empty:
        """Change the resource limits of the running container."""
        shim = self._shim(request.container_id, call)
        asked = shim_api.UpdateTaskRequest(
            id=request.container_id, resources=request.resources, annotations=request.annotations
        )
        return await shim.call("Update", asked, Empty)

    async def metrics(self, request: api.MetricsRequest, call: Call) -> api.MetricsResponse:
        """What the tasks that match use."""
        wanted = parse(request.filters)
        found = []
        for shim in self._tasks.list(call.namespace):
            bundle = shim.bundle
            if not wanted.match(fields(id=bundle.id, namespace=bundle.namespace)):
                continue
            try:
                stats = await shim.call("Stats", shim_api.StatsRequest(id=bundle.id), shim_api.StatsResponse)
            except ContainerdError:
                continue  # it ended since we looked, or has no cgroup
            found.append(Metric(timestamp=timestamp.to_wire(timestamp.now()), id=bundle.id, data=stats.stats))
        return api.MetricsResponse(metrics=found)

    @interruptible
    async def wait(self, request: api.WaitRequest, call: Call) -> api.WaitResponse:
        """Answer once the process has ended, at once if it already has."""
        shim = await self._process(request.container_id, request.exec_id, call)
        asked = shim_api.WaitRequest(id=request.container_id, exec_id=request.exec_id)
        ended = await shim.call("Wait", asked, shim_api.WaitResponse)
        return api.WaitResponse(exit_status=ended.exit_status, exited_at=ended.exited_at)


async def _state(shim: Shim, exec_id: str) -> Process:
    request = shim_api.StateRequest(id=shim.bundle.id, exec_id=exec_id)
    try:
        state = await shim.call("State", request, shim_api.StateResponse)
    except NotFound:
        raise NotFound(f"process {exec_id}: not found" if exec_id else f"task {shim.bundle.id} not found") from None
    return Process(
        container_id="",
        id=exec_id or shim.bundle.id,
        pid=state.pid,
        status=state.status,
        stdin=state.stdin,
        stdout=state.stdout,
        stderr=state.stderr,
        terminal=state.terminal,
        exit_status=state.exit_status,
        exited_at=state.exited_at,
    )
