"""In front of a filter: calls that are newer than it do not exist.

A profile lists what is allowed and forbids the rest, usually with EPERM. That is wrong for a call that its author had
never heard of: a C library tries the newest call first, takes the older one when it hears ENOSYS, and gives up when it
hears EPERM. Numbers grow with time, so what is above the highest that a filter names for an architecture is taken for
newer. These few instructions, for the same little machine as the filter's, see to that and go on to the filter::

    load the architecture
    for each:  is it another?  next
               load the number; above the highest?  ENOSYS : to the filter

x32 shares the architecture of x86_64, and its numbers have a bit of their own.

Source: runc@76d9cf5 libcontainer/seccomp/patchbpf; struct seccomp_data in linux/seccomp.h.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping

_INSTRUCTION = struct.Struct("=HBBI")  # code, how many to skip if true, and if false, the constant
_LOAD, _JUMP, _EQUAL, _GREATER, _AT_LEAST, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # where they are in what the filter looks at
_X86_64, X32 = 0xC000003E, 0x4000003E
_X32_BIT = 0x40000000
_NOT_THERE = 0x00050000 | errno.ENOSYS

Code = list[tuple[int, int, int, int]]


def stub(highest: Mapping[int, int]) -> bytes:
    """The instructions to put before a filter, given the highest number it names for each architecture.

    Architectures are numbers, AUDIT_ARCH_* of linux/audit.h, and :data:`X32`, which is libseccomp's own. One without a
    number is left to the filter.
    """
    code: Code = []
    for architecture in reversed([each for each in highest if each != X32]):  # from the last, for a jump needs lengths
        part = _judge(highest[architecture], len(code))
        if architecture == _X86_64:
            x32 = _judge(highest[X32], len(code) + len(part)) if X32 in highest else [(_JUMP, 0, 0, len(code + part))]
            part = [(_AT_LEAST, 0, len(x32), _X32_BIT), *x32, *part]
        code = [(_EQUAL, 0, len(part) + 1, architecture), (_LOAD, 0, 0, _NUMBER), *part, *code]
    return b"".join(_INSTRUCTION.pack(*each) for each in [(_LOAD, 0, 0, _ARCHITECTURE), *code] if code)


def _judge(highest: int, behind: int) -> Code:
    """With the number loaded: not there if above *highest*, else on to the filter, *behind* instructions further."""
    return [(_GREATER, 0, 1, highest), (_RETURN, 0, 0, _NOT_THERE), (_JUMP, 0, 0, behind)]
