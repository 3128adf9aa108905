"""What is done with a container that exists: start, signal, freeze, delete. Each is short, for the kernel does it.

Each function takes a :class:`~.state.Container` freshly loaded, and refuses in runc's words what its status does not
allow: callers of runtimes compare those words. Source: runtime-spec 1.3 runtime.md#operations.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import ContainerdError, FailedPrecondition, InvalidArgument, NotFound, Unknown
from ..linux import cgroup, disk, signals
from ..linux.tell import step
from . import cgroups, create, hooks
from .explain import tells
from .state import Container
from .words import reason

if TYPE_CHECKING:
    from ..oci.runtime import Resources

Warn = Callable[[str], None]


@tells
def start(container: Container) -> None:
    """Let a created container execute its program.

    Raises:
        FailedPrecondition: it is not created, or its process died meanwhile.
        Unknown, DeadlineExceeded: a hook failed, and with it the container has ended.
    """
    status = container.status()
    if status == "stopped":
        raise FailedPrecondition("cannot start a container that has stopped")
    if status == "running":
        raise FailedPrecondition("cannot start an already running container")
    if status != "created":
        raise FailedPrecondition(f"cannot start a container in the {status} state")
    with step("let init go on: write to exec.fifo, where it waits", spec="runtime-spec runtime.md#start"):
        try:
            # Without O_NONBLOCK this would wait for a reader; with it, no reader means no process.
            fifo = os.open(container.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                raise FailedPrecondition("cannot start a container that has stopped") from error
            raise
        disk.unlink(container.fifo)  # of two that start at once, one gets this far with the name in place
        answer = _listen(container)
        os.write(fifo, b"0")
        os.close(fifo)
    if failure := _hear(answer):
        raise Unknown(failure)
    try:
        hooks.run(container.config, "poststart", hooks.state_of(container, "running", container.pid))
    except ContainerdError:
        with contextlib.suppress(FailedPrecondition):  # it has ended by itself
            kill(container, signal.SIGKILL)
        raise


def _listen(container: Container) -> int:
    """The fifo on which init tells how its hooks went, opened before init is let go; -1 where there are none."""
    if not os.path.exists(container.answer):
        return -1
    answer = os.open(container.answer, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(answer, True)
    return answer


def _hear(answer: int) -> str:
    """What went wrong; nothing, when execve has closed init's end of the fifo."""
    if answer < 0:
        return ""
    with open(answer, encoding="utf-8", errors="replace") as file:
        return file.read()


@tells
def kill(container: Container, number: int, *, all: bool = False) -> None:
    """Send signal *number* to the container's first process, or to every process of its cgroup.

    Raises:
        FailedPrecondition: "container not running".
    """
    if all:
        return _kill_all(container, number)
    if container.status() == "stopped":
        raise FailedPrecondition("container not running")
    with step(f"signal {number} to the container's first process", spec="runtime-spec runtime.md#kill"):
        _signal(container, number)
    if number == signal.SIGKILL and "pid" not in container.namespace_names():
        cgroups.kill(container.cgroup)  # no pid namespace dies with its first process: the others would stay
    elif number == signal.SIGKILL and container.is_frozen():
        cgroup.write(container.cgroup, "cgroup.freeze", "0")
    return None


def _signal(container: Container, number: int) -> None:
    """By a pidfd, checked after it is open: then the number cannot come to mean another process."""
    try:
        pidfd = os.pidfd_open(container.pid)
    except ProcessLookupError:
        raise FailedPrecondition("container not running") from None
    try:
        if not container.is_alive():
            raise FailedPrecondition("container not running")
        signals.send(pidfd, number)
    except ProcessLookupError:
        raise FailedPrecondition("container not running") from None
    except OSError as error:
        raise InvalidArgument(f"unable to signal init: {reason(error)}") from error
    finally:
        os.close(pidfd)


def _kill_all(container: Container, number: int) -> None:
    if number == signal.SIGKILL:
        cgroups.kill(container.cgroup)
        return
    for pid in cgroup.processes(container.cgroup):
        try:
            signals.kill(pid, number)
        except ProcessLookupError:
            continue


@tells
def pause(container: Container) -> None:
    """Freeze every process of the container.

    Raises:
        FailedPrecondition: it is not running or created.
    """
    if container.status() not in ("running", "created"):
        raise FailedPrecondition("container not running")
    with step("freeze the cgroup", spec="cgroup-v2.rst, cgroup.freeze"):
        cgroups.freeze(container.cgroup, frozen=True)


@tells
def resume(container: Container) -> None:
    """Let a paused container go on.

    Raises:
        FailedPrecondition: it is not paused.
    """
    if container.status() != "paused":
        raise FailedPrecondition("container not paused")
    with step("thaw the cgroup", spec="cgroup-v2.rst, cgroup.freeze"):
        cgroups.freeze(container.cgroup, frozen=False)


@tells
def update(container: Container, resources: Resources) -> None:
    """Change the limits of the container's cgroup.

    Raises:
        FailedPrecondition: it is stopped, or a controller is not there.
    """
    if container.status() == "stopped":
        raise FailedPrecondition("container not running")
    create.limit(container, _completed(resources, container.config.get("linux", {}).get("resources") or {}))


def _completed(resources: Resources, former: Resources) -> Resources:
    """Quota and period share a file, and swap is counted from the memory limit: the half not given is *former*'s."""
    completed = resources.copy()
    if "cpu" in resources and resources["cpu"].keys() & {"quota", "period"}:
        halves = {key: value for key, value in (former.get("cpu") or {}).items() if key in ("quota", "period")}
        completed["cpu"] = {**halves, **resources["cpu"]}  # type: ignore[typeddict-item]
    limit = (former.get("memory") or {}).get("limit")
    if "memory" in resources and resources["memory"].get("swap") and limit:
        completed["memory"] = {"limit": limit, **resources["memory"]}
    return completed


def processes(container: Container) -> list[int]:
    """The host's numbers of the container's processes.

    Raises:
        NotFound: its cgroup is gone.
    """
    if not os.path.isdir(container.cgroup):
        raise NotFound(f"cgroup {container.cgroup} is gone")
    return cgroup.processes(container.cgroup)


@tells
def delete(container: Container, warn: Warn, *, force: bool = False) -> None:
    """Remove what is left of a stopped container; a created one is killed first, with *force* any.

    Raises:
        FailedPrecondition: it runs.
    """
    status = container.status()
    if status not in ("stopped", "created") and not force:
        raise FailedPrecondition(f"cannot delete container {container.id} that is not stopped: {status}")
    with step("kill what is left in the cgroup, and remove it", spec="runtime-spec runtime.md#delete"):
        if status != "stopped":
            _end(container)
        cgroups.kill(container.cgroup)  # without a pid namespace some may have outlived the first
        create.remove_group(container)
    create.remove_folder(container)
    hooks.run_warning(container.config, "poststop", hooks.state_of(container, "stopped", 0), warn)


def _end(container: Container) -> None:
    try:
        if container.pid:  # else a create was killed; whoever it forked is in the cgroup
            _signal(container, signal.SIGKILL)
    except FailedPrecondition:
        return  # it ended by itself
    if container.is_frozen():
        cgroup.write(container.cgroup, "cgroup.freeze", "0")
