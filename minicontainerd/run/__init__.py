"""Processes in containers: the OCI runtime ``minirunc``, and the shim that stays with its containers.

A container is one process with its own view of the kernel's tables, fewer rights, and a folder as ``/``. This room
makes one from a *bundle*: a config.json and a root filesystem. It knows nothing of images or of the daemon, and
``minirunc`` is useful alone, wherever runc is.

The path of ``create``, in the order to read it:

=========== ============================================================================================
main        the program: out of reach (shelter), then
dispatch    the command line: the commands and their flags; help: what it says of itself
commands    each of them, as one call of what follows; requests: flags that become a process, or limits
create      the parent's half: record, cgroup, fork, hooks, until the child waits at the FIFO
birth       the fork between them, straight into place
child       the child's half: namespaces, root, terminal, rights, execve. The heart of the room
mappings    who is who in a user namespace, and who may say so
sources     what is bound into a container, in hand before it is out of reach; with other owners
rootfs      the child's filesystem: mounts on resolved descriptors, pivot_root, what is hidden
copyup      a tmpfs that begins as a copy of what it covers
devices     the few nodes and links of /dev
netdevices  interfaces of the host that become the container's
privileges  capabilities, user, groups
program     which file is executed, with which environment and limits
attributes  schedule, memory policy, personality and what else a process carries along
diagnose    why one cannot be executed
operate     start, kill, pause, delete: what is done with a container that exists
join        ``exec``: one more process in it
state       its record on disk, and the status that is worked out from it
cgroups     where its group is, and what is written there; limits: what that is, in version 2;
            device_rules: the one that is a program; units: the group as a unit; systemd: who is asked for one
statistics  what a container uses, for ``events``
criu        a container as files, and back: checkpoint and restore
explain     whom a container tells its story
hooks       programs of the user's at fixed moments
listener    who answers system calls in a container's place
channel     the messages between parent and child
words       errors as sentences, the ones that runc's callers know
shelter     the interpreter out of a container's reach
foreground  stay with a process: show its terminal, or copy to and from its pipes
shim/       the daemon's side: a package with a first page of its own
=========== ============================================================================================

What a hostile image or container may try, and which line of this room stands against it, is in
conformance/runtime/attacks.py and tests/run/test_attacks.py: each attack works when its guard is taken out.

Left out: Intel RDT. It is refused by name where it is asked for.
Source: runtime-spec 1.3; where it is silent, runc@76d9cf5.
"""
