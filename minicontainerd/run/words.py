"""What went wrong, in the words of Go programs: people and tools that know runc match them.

Go tells of a failed call as ``mount /x: no such file or directory``: the call, the path, the reason in small
letters. Python has the three parts, each in a place of its own. They are put together here, once, for the child that
talks over its channel, the command line, and the shim.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ..errors import ContainerdError, Unknown

CREATE_FAILED, EXEC_FAILED, RUN_FAILED = "runc create failed", "exec failed", "runc run failed"
"""How the reason begins when a command of runc failed; the shim has its own words before these."""


def reason(error: OSError) -> str:
    """The kernel's reason in small letters; a sentence that one of us wrote stays as it is.

    >>> reason(FileNotFoundError(2, "No such file or directory")), reason(PermissionError(1, "/Dev is not ours"))
    ('no such file or directory', '/Dev is not ours')
    """
    if error.errno is None:
        return str(error)
    return str(error.strerror).lower() if error.strerror == os.strerror(error.errno) else str(error.strerror)


def sentence(error: BaseException) -> str:
    """*error* as one sentence, without the name of its class.

    >>> error = FileNotFoundError(2, "No such file or directory", "/x")
    >>> error.add_note("system call: mount(2)")
    >>> sentence(error)
    'mount /x: no such file or directory'
    >>> sentence(Unknown("cannot start a stopped process"))
    'cannot start a stopped process'
    """
    if isinstance(error, OSError):
        note = next(iter(getattr(error, "__notes__", [])), "")
        call = note.removeprefix("system call: ").partition("(")[0]
        where = " ".join(str(part) for part in (call, error.filename) if part)
        return f"{where}: {reason(error)}" if where else reason(error)
    if isinstance(error, ContainerdError | ValueError | RuntimeError) and error.args:
        return str(error.args[0])
    return repr(error)


@contextlib.contextmanager
def told_as(what: str) -> Iterator[None]:
    """Whatever fails inside this block is told as ``what: the reason``.

    Raises:
        Unknown: with these words.
    """
    try:
        yield
    except (ContainerdError, OSError, ValueError) as error:
        raise Unknown(f"{what}: {sentence(error)}") from error
