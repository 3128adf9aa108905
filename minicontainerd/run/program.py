"""What is executed: which file, with which environment, limits and schedule.

Source: runtime-spec 1.3 config.md#process; the search and its error words are those of Go's os/exec, which callers
of runc know.
"""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING

from ..linux import process, scheduling
from . import diagnose
from .words import reason

if TYPE_CHECKING:
    from ..oci.runtime import Process, Rlimit


def find(name: str, path: str) -> str:
    """The file to execute for *name*: as it stands if it has a slash, else the first in the folders of *path*.

    Raises:
        FileNotFoundError, PermissionError: in Go's words, the whole sentence is the message.
    """
    if "/" in name:
        _check_executable(name, name)
        return name
    hint = ""
    for folder in path.split(":"):
        candidate = os.path.join(folder or ".", name)
        try:
            _check_executable(candidate, name)
        except PermissionError as error:
            hint = hint or f" ({candidate}: {error})"
        except OSError:
            continue
        else:
            return candidate
    raise FileNotFoundError(f'exec: "{name}": executable file not found in $PATH{hint}')


def _check_executable(path: str, name: str) -> None:
    try:
        is_folder = os.path.isdir(path)
        os.stat(path)
    except OSError as error:
        raise FileNotFoundError(f'exec: "{name}": stat {path}: {_with_cause(reason(error), path, error)}') from None
    if is_folder or not os.access(path, os.X_OK, effective_ids=True):
        denied = PermissionError(errno.EACCES, "")
        raise PermissionError(f'exec: "{name}": {_with_cause("permission denied", path, denied)}')


def refused(path: str, error: OSError, arguments: list[str], variables: dict[str, str]) -> str:
    """The sentence for an execve of *path* that failed with *error*: the call, the kernel's word, the likely cause."""
    return f"exec {path}: {_with_cause(reason(error), path, error, arguments, variables)}"


def _with_cause(
    words: str, path: str, error: OSError, arguments: list[str] | None = None, variables: dict[str, str] | None = None
) -> str:
    cause = diagnose.cause_of(path, error.errno or 0, arguments or [], variables or {})
    return f"{words}: {cause}" if cause else words


def environment(each: Process) -> dict[str, str]:
    """The variables of the config (the last of a name wins), and HOME from the container's /etc/passwd if missing."""
    variables = {}
    for entry in each.get("env") or []:
        name, equals, value = entry.partition("=")
        if not equals or not name:
            raise ValueError(f'invalid environment variable "{entry}"')
        variables[name] = value
    if not variables.get("HOME"):
        variables["HOME"] = _home(each.get("user", {}).get("uid", 0))
    return variables


def _home(uid: int) -> str:
    try:
        with open("/etc/passwd", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields = line.rstrip("\n").split(":")
                if len(fields) >= 6 and fields[2] == str(uid):
                    return fields[5]
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            raise
    return "/"


def limit(pid: int, limits: list[Rlimit]) -> list[str]:
    """Set the resource limits of *pid*, from outside: with the host's rights. What could not be done, as sentences.

    Raising a hard limit takes CAP_SYS_RESOURCE. A root without it gets as far as its own hard limit goes.
    """
    problems = []
    for each in limits:
        soft, hard = (_signed(each[which]) for which in ("soft", "hard"))
        try:
            process.set_limit(pid, each["type"], soft, hard)
        except PermissionError:
            _, most = resource.prlimit(pid, process.LIMITS[each["type"]])
            process.set_limit(pid, each["type"], _least(soft, most), _least(hard, most))
            problems.append(f"{each['type']}: no right to raise the hard limit to {each['hard']}, it stays at {most}")
    return problems


def _signed(limit: int) -> int:
    """A limit of 64 bits as Python writes it, whose RLIM_INFINITY is -1.

    >>> _signed(5), _signed(2**63), _signed(2**64 - 1)
    (5, -9223372036854775808, -1)
    """
    return limit - 2**64 if limit >= 2**63 else limit


def _least(one: int, other: int) -> int:
    """The lower of two limits as Python writes them.

    >>> _least(-1, 5), _least(3, 5), _least(-1, -1)
    (5, 3, -1)
    """
    return min(one, other, key=lambda limit: limit % 2**64)


def schedule(each: Process) -> None:
    """Apply the scheduling policy and the I/O priority that the config may name."""
    if scheduler := each.get("scheduler"):
        scheduling.set_scheduler(
            scheduler["policy"],
            flags=scheduler.get("flags") or [],
            nice=scheduler.get("nice", 0),
            priority=scheduler.get("priority", 0),
            runtime=scheduler.get("runtime", 0),
            deadline=scheduler.get("deadline", 0),
            period=scheduler.get("period", 0),
        )
    if priority := each.get("ioPriority"):
        scheduling.set_io_priority(priority["class"], priority.get("priority", 0))
