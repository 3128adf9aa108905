"""Why a program cannot be executed: the cause behind the kernel's one word.

execve(2) answers with an errno, and one errno has many causes. ``no such file or directory`` for a file that is plainly
there means the *interpreter*: that of a script's first line, or an ELF program's loader. People lose hours to that. So
after a failure the file is looked at, the way the kernel looked at it::

    ENOENT    a link into nothing, a missing folder; the script's interpreter; the loader; a line end of Windows in #!
    EACCES    a folder; nobody may execute it, or this user may not; a mount without exec; the same of its interpreter
    ENOEXEC   empty; text without #!; an ELF program for another machine; something else
    E2BIG     one string above 128 KiB, or all together above a quarter of the stack's limit
    ELOOP, ETXTBSY, ELIBBAD

What is found is only the likely cause, and comes after the kernel's word, never instead of it. This runs in the child,
in the container's filesystem, as the container's user: it imports nothing and believes nothing that it reads.

Source: execve(2); linux v6.1 fs/exec.c, fs/binfmt_script.c, fs/binfmt_elf.c.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
import struct

MACHINES = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
"""Numbers of ELF's ``e_machine``, and what uname(2) calls such a machine."""

_RUNS_ALSO = {"x86_64": {"i386"}, "aarch64": {"arm"}}
_LONGEST_STRING = 32 * 4096
_HEAD = 256
_PT_INTERP = 3


def cause_of(path: str, code: int, arguments: list[str], environment: dict[str, str]) -> str:
    """The likely cause of errno *code* from an execve of *path*, as words to put behind it; "" if none is seen."""
    try:
        if code == errno.E2BIG:
            return _too_big(arguments, environment)
        if code == errno.ENOENT:
            return _missing(path)
        if code == errno.EACCES:
            return _forbidden(path)
        if code == errno.ENOEXEC:
            return _format(path)
    except (OSError, ValueError, struct.error):
        return ""  # the file is not even readable: the kernel's word has to do
    return {
        errno.ELOOP: "its links lead in a circle, or through more than 40",
        errno.ETXTBSY: "the file is open for writing",
        errno.ELIBBAD: "the loader that it names is no loader",
    }.get(code, "")


def _too_big(arguments: list[str], environment: dict[str, str]) -> str:
    strings = [*arguments, *(f"{name}={value}" for name, value in environment.items())]
    sizes = [len(os.fsencode(each)) + 1 for each in strings]
    longest = max(range(len(sizes)), key=sizes.__getitem__)
    if sizes[longest] > _LONGEST_STRING:
        which = "an argument" if longest < len(arguments) else strings[longest].partition("=")[0]
        return f"{which} has {sizes[longest]} bytes, and the kernel takes {_LONGEST_STRING} in one string"
    stack, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return f"arguments and environment have {sum(sizes)} bytes, a quarter of the stack's limit is {stack // 4}"


def _missing(path: str) -> str:
    if not os.path.exists(path):
        return _missing_itself(path)
    head = _head(path)
    if head.startswith(b"#!"):
        interpreter = _interpreter(head)
        if interpreter.endswith("\r"):
            return f"its first line ends as on Windows (CR LF), so the interpreter would be {interpreter!r}"
        if not os.path.exists(interpreter):
            return f"the interpreter of the script, {interpreter}, is not there"
        path, head = interpreter, _head(interpreter)
    if (loader := _loader(path, head)) and not os.path.exists(loader):
        return f"{path} needs the loader {loader}, which is not there"
    return ""


def _missing_itself(path: str) -> str:
    if os.path.islink(path):
        return f"it is a link to {os.readlink(path)}, which is not there"
    folder = os.path.dirname(path)
    while folder not in ("", "/") and not os.path.exists(os.path.dirname(folder)):
        folder = os.path.dirname(folder)
    return "" if not folder or os.path.exists(folder) else f"the folder {folder} is not there"


def _forbidden(path: str) -> str:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        return "it is a folder"
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        return "it is on a mount with the option noexec"
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o111:
        return f"nobody may execute it (mode {mode:04o}: chmod +x)"
    if not os.access(path, os.X_OK, effective_ids=True):
        return f"mode {mode:04o} and owner {status.st_uid}:{status.st_gid} do not let user {os.geteuid()} execute it"
    head = _head(path)
    needed = _interpreter(head) if head.startswith(b"#!") else _loader(path, head)
    return f"{needed}, which has to run it: {_forbidden(needed)}" if needed and needed != path else ""


def _format(path: str) -> str:
    head = _head(path)
    if not head:
        return "the file is empty"
    if head.startswith(b"#!"):
        interpreter = _interpreter(head)
        return f"its interpreter {interpreter}: {_format(interpreter)}" if interpreter else "#! names no interpreter"
    if head.startswith(b"\x7fELF"):
        return _machine(head)
    if b"\0" not in head:
        return "it is text without a first line like #!/bin/sh"
    return "it is no ELF program and no script"


def _machine(head: bytes) -> str:
    number = struct.unpack_from(_order(head) + "H", head, 18)[0]
    name, here = MACHINES.get(number, f"machine {number}"), os.uname().machine
    if name != here and name not in _RUNS_ALSO.get(here, set()):
        return f"it is made for {name}, and this machine is {here}"
    return "its ELF header is damaged"


def _loader(path: str, head: bytes) -> str:
    """What the ELF program *path* names as its loader in PT_INTERP; "" if it is static, or no ELF program."""
    if not head.startswith(b"\x7fELF"):
        return ""
    order, wide = _order(head), head[4] == 2
    start = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    with open(path, "rb") as file:
        for number in range(min(count, 64)):
            file.seek(start + number * size)
            entry = file.read(size)
            if struct.unpack_from(order + "I", entry)[0] == _PT_INTERP:
                place, length = struct.unpack_from(order + ("8xQ16xQ" if wide else "4xI8xI"), entry)
                file.seek(place)
                return os.fsdecode(file.read(min(length, 4096)).rstrip(b"\0"))
    return ""


def _order(head: bytes) -> str:
    return ">" if head[5:6] == b"\x02" else "<"


def _interpreter(head: bytes) -> str:
    """The program that the first line of a script names, as the kernel reads it: up to the first blank.

    >>> _interpreter(b"#! /bin/sh -e\\nset"), _interpreter(b"#!/bin/sh\\r\\n")
    ('/bin/sh', '/bin/sh\\r')
    """
    line = head[2:].partition(b"\n")[0].strip(b" \t")
    return os.fsdecode(line.replace(b"\t", b" ").partition(b" ")[0].partition(b"\0")[0])


def _head(path: str) -> bytes:
    """The beginning of the regular file *path*; opened without waiting, for it might have become a fifo."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _HEAD) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
