"""Which devices a container may open, make and write: the rules of its config as a program for the kernel.

A rule says for some devices, and for some kinds of access, yes or no. For each kind of access the last rule that
speaks of it decides, and where none does the answer is no. Each of the three kinds gets a section of the program, and
the rules stand in it from the last to the first, without those that a later one about the same devices overrules::

                    is a read wanted? no ──────────────────────────▶ next section
    allow c 5:1     type 2? major 5? minor 1? no ─▶ next rule, yes ─▶ next section
    deny  a         no conditions: answer 0

To all rules are added, as runc does, those without which nothing works: to make any node (a node alone opens
nothing), and the harmless devices of every container's /dev.

Source: runtime-spec 1.3 config-linux.md#allowed-device-list; the added rules: runc@76d9cf5 specconv/spec_linux.go.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import FailedPrecondition, InvalidArgument
from ..linux import bpf
from ..linux.bpf import R2, R3, R4, R5
from ..linux.tell import step
from .words import reason

if TYPE_CHECKING:
    from ..oci.runtime import DeviceRule

_ACCESS = {"m": 1, "r": 2, "w": 4}
_TYPES = {"b": 1, "c": 2}
_NEVER_REFUSED: list[DeviceRule] = [
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},  # /dev/null
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},  # /dev/zero
    {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rwm"},  # /dev/full
    {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "rwm"},  # /dev/random
    {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "rwm"},  # /dev/urandom
    {"allow": True, "type": "c", "major": 5, "minor": 0, "access": "rwm"},  # /dev/tty
    {"allow": True, "type": "c", "major": 5, "minor": 2, "access": "rwm"},  # /dev/ptmx
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},  # /dev/pts/*
]

USUAL: list[DeviceRule] = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rwm"},
    {"allow": True, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
    {"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
    {"allow": True, "type": "c", "major": 5, "minor": 2, "access": "rwm"},
]
"""What containerd's clients write into every config: containerd@301026e pkg/oci/spec_opts.go."""


def enforce(folder: str, rules: Sequence[DeviceRule]) -> None:
    """Let *rules* decide in the cgroup *folder* from now on, in place of whatever did.

    Raises:
        InvalidArgument: a rule names no type, or no access, of devices.
        FailedPrecondition: the kernel does not take the program.
    """
    rules = [*rules, *_NEVER_REFUSED]
    for rule in rules:
        _check(rule)
    with step("which devices may be used: a program that the kernel asks", spec="config-linux.md#allowed-device-list"):
        try:
            _replace(folder, None if _allows_all(rules) else compile(rules))
        except OSError as error:
            raise FailedPrecondition(f"cannot apply the device rules to {folder}: bpf: {reason(error)}") from error


def keep_usual_program() -> None:
    """Load now, for all children that will be forked, the program of a container of which nothing special was asked.

    The kernel takes most of a millisecond to convince itself that a program ends. It may refuse it, too; then each
    container will hear of that.
    """
    code = compile([*USUAL, *_NEVER_REFUSED])
    with contextlib.suppress(OSError):
        _kept[code] = bpf.load_device_program(code)


_kept: dict[bytes, int] = {}
"""Programs that are loaded already: descriptors, by their code."""


def _replace(folder: str, code: bytes | None) -> None:
    cgroup = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with bpf.attached_device_programs(cgroup) as former:
            if code in _kept:
                bpf.attach_device_program(cgroup, _kept[code])
            elif code is not None:
                program = bpf.load_device_program(code)
                try:
                    bpf.attach_device_program(cgroup, program)
                finally:
                    os.close(program)
            for each in former:
                bpf.detach_device_program(cgroup, each)
    finally:
        os.close(cgroup)


def _check(rule: DeviceRule) -> None:
    if rule.get("type", "a") not in ("a", *_TYPES):
        raise InvalidArgument(f"device rule {dict(rule)}: type {rule.get('type')!r} is none of a, b, c")
    if not set(rule.get("access", "rwm")) <= set(_ACCESS):
        raise InvalidArgument(f"device rule {dict(rule)}: access {rule.get('access')!r} is made of r, w and m")


def _allows_all(rules: Sequence[DeviceRule]) -> bool:
    """Whether nothing is refused after a rule that allows everything: then no program is needed."""
    for rule in reversed(rules):
        if not rule.get("allow"):
            return False
        if _devices_of(rule) == _EVERY and set(rule.get("access") or "rwm") == set(_ACCESS):
            return True
    return False


def compile(rules: Sequence[DeviceRule]) -> bytes:
    """The program.

    >>> len(compile([{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}])) // 8
    24
    >>> refused, allowed = {"allow": False, "type": "c"}, {"allow": True, "type": "c"}
    >>> compile([refused, allowed]) == compile([allowed])
    True
    """
    code = bpf.Assembler()
    code.load(R2, 0)
    code.copy(R3, R2)
    code.keep_bits(R2, 0xFFFF)  # the type
    code.shift_right(R3, 16)  # the kinds of access
    code.load(R4, 4)  # major
    code.load(R5, 8)  # minor
    for kind, bit in _ACCESS.items():
        _section(code, rules, kind, bit)
    code.answer(1)
    return code.assemble()


def _section(code: bpf.Assembler, rules: Sequence[DeviceRule], kind: str, bit: int) -> None:
    """Answer 0 if this kind of access is wanted and refused, else go on behind."""
    code.jump_if_any(R3, bit, f"{kind} wanted")
    code.jump(f"{kind} done")
    code.label(f"{kind} wanted")
    asked = set()
    for number, rule in enumerate(reversed(rules)):
        devices = type, major, minor = _devices_of(rule)
        if kind not in (rule.get("access") or "rwm") or devices in asked:  # of two about the same, the later decides
            continue
        asked.add(devices)
        other = f"{kind} not {number}"
        if type != "a":
            code.jump_if_not_equal(R2, _TYPES[type], other)
        for wanted, register in ((major, R4), (minor, R5)):
            if wanted is not None:
                code.jump_if_not_equal(register, wanted, other)
        if rule.get("allow"):
            code.jump(f"{kind} done")
        else:
            code.answer(0)
        code.label(other)
        if devices == _EVERY:
            break
    else:
        code.answer(0)
    code.label(f"{kind} done")


_EVERY = ("a", None, None)


def _devices_of(rule: DeviceRule) -> tuple[str, int | None, int | None]:
    """The devices that a rule speaks of: type, major and minor. None is all of them."""
    return rule.get("type", "a"), _number(rule, "major"), _number(rule, "minor")


def _number(rule: DeviceRule, name: str) -> int | None:
    """A rule's *name*, major or minor; None, or any negative number, is all of them."""
    number = rule.get(name)
    return number if isinstance(number, int) and number >= 0 else None
