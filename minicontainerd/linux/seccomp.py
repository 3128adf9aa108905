"""Filters on system calls: compiled by libseccomp, loaded by one call.

The config describes a filter in words: for these calls with these arguments, do that. The kernel wants a program for
its little packet-filter machine, other for each architecture. The library libseccomp translates. It is used in two
halves, so that nothing is loaded or imported late: :func:`compile` runs in the parent, on the host, and gives plain
bytes; :func:`load` in the child is one system call.

Source: seccomp(2), seccomp.h of libseccomp 2.5; names as in runtime-spec 1.3 config-linux.md#seccomp.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from . import unknown_calls
from .libc import NUMBERS, os_error, syscall
from .tell import act

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_NUMBER = {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}
_PERMISSIVE = {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"}
_OPERATORS = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
]
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
_NEW_LISTENER, _TSYNC_ESRCH = 1 << 3, 1 << 4
ACTIONS, OPERATORS, FLAGS = sorted(_ACTIONS), sorted(_OPERATORS), sorted(_FLAGS)
ARCHITECTURES = [
    f"SCMP_ARCH_{name}"
    for name in [
        "AARCH64",
        "ARM",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PARISC",
        "PARISC64",
        "PPC",
        "PPC64",
        "PPC64LE",
        "RISCV64",
        "S390",
        "S390X",
        "X32",
        "X86",
        "X86_64",
    ]
]
"""Those of libseccomp 2.5; which of them can be in one filter depends on the machine."""

_SET_MODE_FILTER = 1
_NO_SUCH_CALL = -1


class Program(NamedTuple):
    """A compiled filter: instructions of eight bytes each, and the flags to load it with.

    If it *notifies*, some calls are answered by somebody else, who reads them from a descriptor: the listener.
    """

    instructions: bytes
    flags: int
    notifies: bool = False


class _Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def _library() -> ctypes.CDLL:
    """libseccomp; loaded at the first filter, for most runs of the runtime have none.

    Raises:
        OSError: it is not installed (Debian: libseccomp2).
    """
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_arch_native.restype = ctypes.c_uint32
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    return library


def compile(config: Mapping[str, Any]) -> Program:
    """The filter that *config*, a ``linux.seccomp`` of the runtime-spec, describes.

    Raises:
        ValueError: it names an action, operator, architecture or flag that we do not know, gives an errno to an action
            that has none, or would have the runtime itself wait for an answer.
        OSError: libseccomp is missing, or refuses a rule.
    """
    library, notifies = _library(), _notifies(config)
    context = library.seccomp_init(_action(config["defaultAction"], config.get("defaultErrnoRet")))
    if not context:
        raise OSError(errno.EINVAL, "seccomp_init refuses the default action")
    architectures = {library.seccomp_arch_native()}
    try:
        for name in config.get("architectures") or []:
            word = name.removeprefix("SCMP_ARCH_").lower()
            token = library.seccomp_arch_resolve_name(word.encode())
            if not token:
                raise ValueError(f"invalid seccomp architecture {name!r}")
            architectures.add(token)
            _check(library.seccomp_arch_add(context, token), f"architecture {name}", but=errno.EEXIST)
        for rule in config.get("syscalls") or []:
            _add(library, context, rule, config)
        instructions = unknown_calls.stub(_highest(library, architectures, config)) + _export(library, context)
        return Program(instructions, _flags(config.get("flags"), notifies), notifies)
    finally:
        library.seccomp_release(context)


def _notifies(config: Mapping[str, Any]) -> bool:
    """Whether some calls go to a listener. Never write(2): with it the child says that there is one."""
    notify, rules = "SCMP_ACT_NOTIFY", config.get("syscalls") or []
    if config["defaultAction"] == notify:
        raise ValueError(f"{notify} cannot be used as default action")
    names = {name for rule in rules if rule["action"] == notify for name in rule["names"]}
    if "write" in names:
        raise ValueError(f"{notify} cannot be used for the write syscall")
    if names and not config.get("listenerPath"):
        raise ValueError(f"{notify} is used, and listenerPath is not set")
    return bool(names)


def _add(library: ctypes.CDLL, context: int, rule: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == _action(config["defaultAction"], config.get("defaultErrnoRet")):
        return  # says nothing new, and the library calls that an error
    comparisons = [_comparison(argument) for argument in rule.get("args") or []]
    # One rule cannot ask two things of one argument: such a list means "or", as it does for runc.
    indexes = [comparison.arg for comparison in comparisons]
    groups = [[each] for each in comparisons] if len(set(indexes)) < len(indexes) else [comparisons]
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == _NO_SUCH_CALL:
            continue  # a newer kernel's call: this library cannot name it, so the default action applies
        for group in groups:
            array = (_Comparison * len(group))(*group)
            _check(library.seccomp_rule_add_array(context, action, number, len(group), array), f"rule for {name}")


def _highest(library: ctypes.CDLL, architectures: set[int], config: Mapping[str, Any]) -> dict[int, int]:
    """The highest call that the rules name, for each architecture that has one; none where newer ones are welcome."""
    if config["defaultAction"] in _PERMISSIVE or config.get("defaultErrnoRet") == errno.ENOSYS:
        return {}
    names = {name.encode() for rule in config.get("syscalls") or [] for name in rule["names"]}
    found = {
        architecture: max((library.seccomp_syscall_resolve_name_arch(architecture, name) for name in names), default=-1)
        for architecture in architectures
    }
    return {architecture: number for architecture, number in found.items() if number > 0}  # below 0: not there


def _action(name: str, number: int | None) -> int:
    if name not in _ACTIONS:
        raise ValueError(f"invalid seccomp action {name!r}")
    if name not in _WITH_NUMBER:
        if number:
            raise ValueError(f"seccomp action {name} has no errno, and {number} is given")
        return _ACTIONS[name]
    return _ACTIONS[name] | (errno.EPERM if number is None else number) & 0xFFFF


def _comparison(argument: Mapping[str, Any]) -> _Comparison:
    if argument["op"] not in _OPERATORS:
        raise ValueError(f"invalid seccomp operator {argument['op']!r}")
    operator = 1 + _OPERATORS.index(argument["op"])
    return _Comparison(argument["index"], operator, argument["value"], argument.get("valueTwo", 0))


def _flags(names: list[str] | None, notifies: bool) -> int:
    unknown = set(names or []) - set(_FLAGS)
    if unknown:
        raise ValueError(f"invalid seccomp flag {sorted(unknown)[0]!r}")
    flags = sum(_FLAGS[name] for name in set(names or []))
    if not notifies:
        return (
            flags & ~_FLAGS["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
        )  # how to wait for an answer: EINVAL without one
    # With TSYNC too, a number that is returned could mean a thread or a descriptor, unless the thread is ESRCH.
    return flags | _NEW_LISTENER | (_TSYNC_ESRCH if flags & _FLAGS["SECCOMP_FILTER_FLAG_TSYNC"] else 0)


def _export(library: ctypes.CDLL, context: int) -> bytes:
    file = os.memfd_create("filter")
    try:
        _check(library.seccomp_export_bpf(context, file), "export")
        size = os.lseek(file, 0, os.SEEK_CUR)
        return os.pread(file, size, 0)
    finally:
        os.close(file)


def _check(result: int, what: str, but: int = 0) -> None:
    if result < 0 and -result != but:
        raise OSError(-result, f"libseccomp, {what}: {os.strerror(-result)}")


@act("seccomp(2)")
def load(program: Program) -> int:
    """Filter every system call from now on, for good, and for all children.

    Returns the listener's descriptor, closed by execve, if the program notifies, and else 0.

    Raises:
        PermissionError: EACCES, neither CAP_SYS_ADMIN nor no_new_privs.
        OSError: EINVAL, the program is no valid filter.
    """
    instructions = ctypes.create_string_buffer(program.instructions, len(program.instructions))
    header = _FilterProgram(len(program.instructions) // 8, ctypes.addressof(instructions))
    pointer = ctypes.cast(ctypes.pointer(header), ctypes.c_void_p)
    result = syscall(NUMBERS["seccomp"], _SET_MODE_FILTER, program.flags, pointer)
    if result == -1:
        raise os_error("seccomp(2)")
    return result
