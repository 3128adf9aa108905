"""A process and its relatives: attributes set by prctl(2), and looking at others through /proc.

Process numbers are reused. Who keeps one must know whether it still means the same process: here that is the start
time, field 22 of /proc/PID/stat, in clock ticks since boot. A number and a start time together never come back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from .kernel_file import write_setting
from .libc import NUMBERS, libc, os_error, syscall
from .tell import act

_prctl = libc.prctl
_prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4

PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

PER_LINUX, PER_LINUX32 = 0x0000, 0x0008

LIMITS = {
    f"RLIMIT_{name}": number
    for number, name in enumerate(
        [
            *("CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS"),
            *("LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"),
        ]
    )
}
"""Resource limits by their name; Python's own module does not know all of them. Numbers of x86 and ARM."""

_KEYCTL_JOIN_SESSION_KEYRING = 1


def prctl(option: int, value: int, call: str) -> None:
    """prctl(2) with one number; *call* names it in the error."""
    if _prctl(option, value, 0, 0, 0) == -1:
        raise os_error(call)


@act("PR_SET_CHILD_SUBREAPER(2const)")
def set_child_subreaper(on: bool = True) -> None:
    """Become the parent of descendants whose own parent dies, in the place of init."""
    prctl(PR_SET_CHILD_SUBREAPER, int(on), "prctl(PR_SET_CHILD_SUBREAPER)")


@act("PR_SET_NO_NEW_PRIVS(2const)")
def set_no_new_privs() -> None:
    """From now on execve gives no rights that the caller lacks: setuid bits and file capabilities do nothing."""
    prctl(PR_SET_NO_NEW_PRIVS, 1, "prctl(PR_SET_NO_NEW_PRIVS)")


@act("PR_SET_DUMPABLE(2const)")
def set_dumpable(on: bool) -> None:
    """Off: no core dump, and only a privileged process may trace this one or open its /proc entries."""
    prctl(PR_SET_DUMPABLE, int(on), "prctl(PR_SET_DUMPABLE)")


@contextlib.contextmanager
def not_dumpable() -> Iterator[None]:
    """Fork in this block, and the child is not dumpable from its first moment; it leaves the block as it is."""
    parent, former = os.getpid(), _prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
    set_dumpable(False)
    try:
        yield
    finally:
        if os.getpid() == parent and former == 1:
            set_dumpable(True)


@act("PR_SET_KEEPCAPS(2const)")
def set_keep_capabilities(on: bool) -> None:
    """On: the permitted set outlives the change from user 0 to another; the effective one is still emptied."""
    prctl(PR_SET_KEEPCAPS, int(on), "prctl(PR_SET_KEEPCAPS)")


@act("KEYCTL_JOIN_SESSION_KEYRING(2const)")
def join_session_keyring(name: str) -> int:
    """Get a new session keyring called *name*, so that the caller's keys are not inherited.

    Raises:
        OSError: ENOSYS, a kernel without keyrings; EDQUOT, the user has too many.
    """
    serial = syscall(NUMBERS["keyctl"], _KEYCTL_JOIN_SESSION_KEYRING, name.encode())
    if serial == -1:
        raise os_error("keyctl(2)")
    return serial


@act("pidfd_getfd(2)")
def take_descriptor(pid: int, number: int) -> int:
    """A copy, among our descriptors, of that which *pid* has open as *number*.

    Raises:
        PermissionError: EPERM, the caller may not trace *pid*.
        OSError: EBADF, it has no such descriptor.
    """
    pidfd_getfd, pidfd = 438, os.pidfd_open(pid)
    try:
        copy = syscall(pidfd_getfd, pidfd, number, 0)
        if copy == -1:
            raise os_error("pidfd_getfd(2)")
        return copy
    finally:
        os.close(pidfd)


@act("close_range(2)")
def close_all_but(kept: set[int]) -> None:
    """Close every descriptor that is not in *kept*."""
    first = 0
    for descriptor in sorted(kept):
        if descriptor > first:  # an empty range would be taken for one without end
            os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, (1 << 31) - 1)


@act("close_range(2)")
def close_on_exec_from(first: int) -> None:
    """Mark every descriptor from *first* up to be closed by execve: none of ours reaches the container's program."""
    close_range_cloexec = 4
    if libc.close_range(ctypes.c_uint(first), ctypes.c_uint(0xFFFFFFFF), ctypes.c_int(close_range_cloexec)) == -1:
        raise os_error("close_range(2)")


@act("proc_pid_oom_score_adj(5)")
def set_oom_score(adjustment: int) -> int:
    """Make the OOM killer like or dislike the caller: -1000 to 1000. What was set.

    Below its own value takes CAP_SYS_RESOURCE; without it, its own is the least it can have, and it gets that.
    """
    try:
        write_setting("/proc/self/oom_score_adj", str(adjustment))
    except PermissionError:
        with open("/proc/self/oom_score_adj", encoding="ascii") as file:
            return int(file.read())
    return adjustment


def set_command_line(words: list[str]) -> None:
    """Show *words* as this process's command line, in ps(1), and the first one as its name.

    The kernel reads a command line from where it put it when the program was started, and past that into the
    environment behind it, if a longer text has been written over both. So the environment that the program was started
    with is lost: whoever calls this must have set all of it anew, which moves it elsewhere.
    """
    with open("/proc/self/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    start, end, end_of_environment = int(fields[45]), int(fields[46]), int(fields[48])
    text = " ".join(words).encode(errors="surrogateescape")[: end_of_environment - start - 1]
    ctypes.memmove(start, text.ljust(end - start, b"\0") + b"\0", max(len(text) + 1, end - start))
    write_setting("/proc/self/comm", os.path.basename(words[0])[:15])


@act("setdomainname(2)")
def set_domain_name(name: str) -> None:
    """Set the NIS domain name of the uts namespace."""
    encoded = name.encode()
    if libc.setdomainname(encoded, ctypes.c_size_t(len(encoded))) == -1:
        raise os_error("setdomainname(2)")


@act("sethostname(2)")
def set_host_name(name: str) -> None:
    """Set the host name of the uts namespace. By the C library: Python's is in :mod:`socket`, slow to import."""
    encoded = name.encode()
    if libc.sethostname(encoded, ctypes.c_size_t(len(encoded))) == -1:
        raise os_error("sethostname(2)")


@act("personality(2)")
def set_personality(domain: int) -> None:
    """Make the kernel look like another one to the caller: PER_LINUX32 shows a processor of 32 bits in uname(2)."""
    if libc.personality(ctypes.c_ulong(domain)) == -1:
        raise os_error("personality(2)")


@act("fork(2)")
def fork() -> int:
    """Make a child: its pid in the parent, 0 in the child."""
    return os.fork()


@act("setsid(2)")
def new_session() -> None:
    """Lead a session of one's own, without a controlling terminal."""
    os.setsid()


@act("setgroups(2)")
def set_groups(groups: list[int]) -> None:
    """Set the supplementary groups. Raises PermissionError (EPERM): no CAP_SETGID, or a user namespace denies it."""
    os.setgroups(groups)


@act("setgid(2)")
def set_gid(gid: int) -> None:
    """Set all group ids. Raises OSError (EINVAL): the user namespace does not map *gid*."""
    os.setgid(gid)


@act("setuid(2)")
def set_uid(uid: int) -> None:
    """Set all user ids; leaving 0 clears the effective capabilities, and without KEEPCAPS the permitted ones."""
    os.setuid(uid)


@act("prlimit(2)")
def set_limit(pid: int, name: str, soft: int, hard: int) -> None:
    """Set a resource limit of another process; *name* is ``RLIMIT_NOFILE`` and so on, -1 is none.

    Both are signed, as the module resource has them: of two numbers below 0 the kernel sees what 64 bits make of them.

    Raises:
        PermissionError: EPERM, the hard limit would rise, which takes CAP_SYS_RESOURCE.
    """
    resource.prlimit(pid, LIMITS[name], (soft, hard))


def _count(environment: dict[str, str]) -> str:
    return f"{{{len(environment)} variables}}"  # their values may be secrets


@act("execve(2)", returns=False, environment=_count)
def execute(path: str, arguments: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the program *path*.

    Raises:
        OSError: ENOEXEC, no format that the kernel knows; ENOENT, the interpreter of a script is missing; and others.
    """
    os.execve(path, arguments, environment)


class Stat(NamedTuple):
    """What is used of /proc/PID/stat; *state* is R, S, D, T, Z (zombie), X (dead)."""

    command: str
    state: str
    parent: int
    start_time: int


def stat(pid: int) -> Stat:
    """The process *pid*, as seen now.

    Raises:
        FileNotFoundError, ProcessLookupError: there is none.
    """
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        text = file.read()
    command, _, rest = text.partition("(")[2].rpartition(")")  # a command may itself contain a parenthesis
    fields = rest.split()
    return Stat(command, fields[0], int(fields[1]), int(fields[19]))


def is_ending(pid: int) -> bool:
    """Whether *pid* is on its way out: past the point of no return in the kernel, a zombie, or gone.

    Its descriptors are closed between the two moments, so who sees one closed can ask here why.
    """
    pf_exiting = 0x4
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return fields[0] in "ZX" or bool(int(fields[6]) & pf_exiting)


def is_alive(pid: int, start_time: int) -> bool:
    """Whether the process *pid* that began at *start_time* still runs; a zombie does not."""
    try:
        now = stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return now.start_time == start_time and now.state not in "ZX"
