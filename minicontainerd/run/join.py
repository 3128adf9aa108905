"""``exec``: one more process in a container that runs.

Its world is there already. One setns(2) with a pidfd of the container's first process enters all namespaces at
once; the cgroup is joined before that, while its files can still be seen. What is left is what every process needs
for itself: a terminal, a user, rights, a filter, a program (child.py, ``joiner``).
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from ..errors import FailedPrecondition, NotFound, Unknown
from ..linux import cgroup, namespaces, scheduling
from ..linux.namespaces import CLONE
from ..linux.tell import step
from . import birth, child, create, hooks, listener, program
from .attributes import numbers_in
from .explain import tells
from .state import Container
from .validate import check_process

if TYPE_CHECKING:
    from ..oci.runtime import Process

_CONFINES = ("apparmorProfile", "capabilities", "oomScoreAdj", "selinuxLabel")


def check(container: Container, *, ignore_paused: bool) -> None:
    """Refuse what its status does not allow.

    Raises:
        FailedPrecondition: the container is stopped or paused.
    """
    status = container.status()
    if status == "stopped":
        raise FailedPrecondition("cannot exec in a stopped container")
    if status == "paused" and not ignore_paused:
        raise FailedPrecondition("cannot exec in a paused container (use --ignore-paused to override)")


@tells
def execute(
    container: Container, process: Process, options: create.Options, *, ignore_paused: bool = False, group: str = ""
) -> int:
    """Start *process* in the container; its pid on the host. When this returns, the program has been executed.

    *group* is a cgroup below the container's; ``/`` is the container's own, even if it takes no processes.

    Raises:
        FailedPrecondition: the container is stopped or paused.
        InvalidArgument: *process* is not as it should be.
        Unknown: something failed on the way; the child is gone.
    """
    check(container, ignore_paused=ignore_paused)
    process = _confined(process, container.config["process"])
    check_process(process)
    create.check_terminal(bool(process.get("terminal")), options.console)
    with contextlib.ExitStack() as held:
        plan = _plan(container, process, options, held)._replace(cgroup_folders=_groups(container, group))
        affinity = process.get("execCPUAffinity") or container.config["process"].get("execCPUAffinity") or {}
        with (
            step("fork a child into the container", spec="runtime-spec runtime.md"),
            scheduling.running_on(numbers_in(affinity.get("initial", ""))),
        ):
            talk, forked = birth.fork(plan, joining=True)
        held.callback(talk.close)
        pid = birth.pid_of_init(talk, forked, {})
        if final := numbers_in(affinity.get("final", "")):
            scheduling.set_affinity(pid, final)
        create.warn_of_ungranted(process, options.warn)
        for problem in program.limit(pid, process.get("rlimits") or []):
            options.warn(problem)
        if options.pid_file:
            create.write_pid_file(options.pid_file, pid)
        talk.say("go")
        state = hooks.state_of(container, "running", container.pid)
        word, text = listener.hear(
            talk, pid, container.config.get("linux", {}).get("seccomp"), state
        )  # nothing, when execve has closed the channel
        if word:
            birth.reap(pid)
            raise Unknown(f"unable to start container process: {text}")
    return pid


def _confined(process: Process, first: Process) -> Process:
    """What *process* does not say of its limits is as in the container's *first*, or it would have none of them."""
    kept: Any = {key: value for key, value in first.items() if key in _CONFINES and process.get(key) in (None, "")}
    return {**process, **kept}


def _plan(container: Container, process: Process, options: create.Options, held: contextlib.ExitStack) -> child.Plan:
    pidfd = os.pidfd_open(container.pid)
    held.callback(os.close, pidfd)
    if not container.is_alive():  # asked with the descriptor in hand: the number may have come to mean another process
        raise FailedPrecondition("cannot exec in a stopped container")
    return child.Plan(
        container=container,
        process=create.as_asked(process, options),
        join=((pidfd, _other_namespaces(container.pid)),),
        create=CLONE(0),
        filter=create.compile_filter(container.config),
        streams=options.streams,
        console_socket=options.console,
        preserved=options.preserved,
    )


def _groups(container: Container, group: str) -> tuple[str, ...]:
    """The groups to try: where the first process is, for one that has groups below it takes nobody in."""
    if not container.cgroup:
        return ()  # it has none of its own
    if not group:
        return (container.cgroup, cgroup.tree() + cgroup.own(container.pid))
    inner = os.path.normpath("/" + group).lstrip("/")  # as if rooted: ".." cannot lead out of the container's
    folder = os.path.join(container.cgroup, inner) if inner else container.cgroup
    if not os.path.isdir(folder):
        raise NotFound(f"bad sub cgroup path: {group}: no such group below the container's")
    return (folder,)


def _other_namespaces(pid: int) -> CLONE:
    """Flags of the namespaces in which *pid* is and we are not; entering one's own user namespace is an error."""
    flags = CLONE(0)
    for name, file in namespaces.FILES.items():
        theirs, ours = f"/proc/{pid}/ns/{file}", f"/proc/self/ns/{file}"
        if os.path.exists(ours) and namespaces.identity(theirs) != namespaces.identity(ours):
            flags |= namespaces.FLAGS[name]
    return flags
