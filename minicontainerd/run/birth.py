"""Where a container's process is born: one fork, straight into place, if the kernel can do that.

A process comes into a namespace in one of three ways, and its pid namespace it cannot change at all::

    clone3 with CLONE_NEW*                new ones, made for the child
    setns(2) by the parent, then fork     a pid namespace that exists: only later children are moved
    setns(2) by the child                 all others that exist

A user or a time namespace needs more: between its making and the next step, mappings or offsets have to be written.
Then what is forked here is a *stage*, which enters one namespace after the other, forks once more and ends (child.py);
its child comes to us if we are a subreaper. The same where clone3 is too old, or the cgroup takes no processes.

Nobody inside may look into the child before its execve (shelter.py): it is not dumpable from its first moment, because
we are not when we fork.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import Unknown
from ..linux import namespaces, process, signals
from ..linux.fork import fork_into
from ..linux.namespaces import CLONE
from ..linux.tell import step
from . import channel, child, mappings

if TYPE_CHECKING:
    from ..oci.runtime import Linux

_NEEDS_A_STAGE = CLONE.NEWUSER | CLONE.NEWTIME


def fork(plan: child.Plan, *, joining: bool) -> tuple[channel.Channel, int]:
    """Fork the child that carries *plan* out; our side of the channel, and its pid."""
    ours, theirs = channel.pair()
    try:
        with step("closed to everybody inside until execve", spec="PR_SET_DUMPABLE(2const)"), process.not_dumpable():
            try:
                pid, plan = _fork_into_place(plan) if plan.cgroup_folders else (process.fork(), plan)
            except OSError:
                pid = process.fork()
    except BaseException:
        ours.close()  # and if there is a child already, it ends
        theirs.close()
        raise
    if pid == 0:
        ours.close()
        child.run(plan, theirs, joining=joining)
    theirs.close()
    return ours, pid


def pid_of_init(talk: channel.Channel, forked: int, linux: Linux) -> int:
    """Who will be the container's process: *forked*, or its child if that was a stage, which is gone then.

    On the way, write the mappings of a new user namespace, which only the outside may.
    """
    word, text = understood(talk.hear())
    if word == "inside":
        return forked
    try:
        if word == "map":
            mappings.write(forked, linux.get("uidMappings") or [], linux.get("gidMappings") or [])
            talk.say("go")
            word, text = understood(talk.hear())
        if word != "pid":
            raise Unknown(f"unable to start container process: the stage said {word!r}")
        return int(text)
    except BaseException:
        signals.kill(forked, 9)  # it may still wait for our answer
        raise
    finally:
        reap(forked)


def understood(heard: tuple[str, str]) -> tuple[str, str]:
    """What was *heard* from the child, unless it is bad news.

    Raises:
        Unknown: it is an error, or the child is gone without one.
    """
    word, text = heard
    if word == "error":
        raise Unknown(f"unable to start container process: {text}")
    if not word:
        raise Unknown("unable to start container process: the child died without a word")
    return word, text


def expect(heard: tuple[str, str], wanted: str) -> None:
    """Be content with *wanted* and nothing else."""
    word, _ = understood(heard)
    if word != wanted:
        raise Unknown(f"unable to start container process: the child said {word!r} instead of {wanted!r}")


def reap(pid: int) -> None:
    """Wait for our child *pid*; somebody else who waits for all children may have been faster."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


def _fork_into_place(plan: child.Plan) -> tuple[int, child.Plan]:
    """Fork the child into its cgroup and as far into its namespaces as can be; what it has still to do."""
    folder, plan = plan.cgroup_folders[0], plan._replace(cgroup_folders=())
    wanted = plan.create
    for _, flags in plan.join:
        wanted |= flags
    if wanted & _NEEDS_A_STAGE:
        return fork_into(folder), plan
    # A new cgroup namespace has the group of its maker as its root, and that would be ours: the child makes it.
    born_in = plan.create & ~CLONE.NEWCGROUP
    still_to_join = tuple((each, flags & ~CLONE.NEWPID) for each, flags in plan.join if flags != CLONE.NEWPID)
    inside = plan._replace(is_inside=True, born_in=born_in, join=still_to_join)
    for descriptor, flags in plan.join:
        if flags & CLONE.NEWPID:
            return _fork_into_pid_namespace(descriptor, folder, born_in), inside
    return fork_into(folder, born_in), inside


def _fork_into_pid_namespace(descriptor: int, folder: str, born_in: CLONE) -> int:
    """Fork with our future children in the pid namespace of *descriptor*, and have later ones in our own again."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    pid = -1
    try:
        namespaces.setns(descriptor, CLONE.NEWPID)
        pid = fork_into(folder, born_in)
    finally:
        if pid != 0:  # the child cannot go back up, and need not
            namespaces.setns(own, CLONE.NEWPID)
        os.close(own)
    return pid
