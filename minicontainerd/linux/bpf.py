"""Programs in the kernel: built instruction by instruction, loaded, and attached to a cgroup.

A version 2 cgroup has no file for devices. Instead the kernel runs a small program each time that a process in the
group opens or makes a device node, and takes its answer: 1 is yes, 0 is no. It hands the program a pointer to three
numbers, in register 1::

    access << 16 | type     1 mknod, 2 read, 4 write;  1 block, 2 character
    major
    minor

The machine has ten registers; the result is what register 0 holds at ``exit``. Every instruction is eight bytes: what
to do, with which registers, how far to jump, and a constant. The kernel refuses a program that might not end, so there
are only jumps forwards.

Source: Linux 6.1 include/uapi/linux/bpf.h, Documentation/bpf/instruction-set.rst, bpf(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterator

from .libc import NUMBERS, os_error, syscall
from .tell import act, descriptor

R0, R1, R2, R3, R4, R5 = range(6)

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16  # enum bpf_cmd
_TYPE_CGROUP_DEVICE = 15  # enum bpf_prog_type
_AT_CGROUP_DEVICE = 6  # enum bpf_attach_type
_ALLOW_MULTI = 2
_ATTRIBUTE_BYTES = 144  # of union bpf_attr, in zeros where it is not used
_MOST_ATTACHED = 64  # what the kernel takes


class Assembler:
    """Collects instructions; a jump names a label, which is placed later.

    >>> code = Assembler()
    >>> code.jump_if_not_equal(R2, 2, "no")
    >>> code.answer(1)
    >>> code.label("no")
    >>> code.answer(0)
    >>> len(code.assemble()) // 8
    5
    """

    def __init__(self) -> None:
        self._instructions: list[tuple[int, int, int, int | str, int]] = []  # code, to, from, offset, constant
        self._labels: dict[str, int] = {}

    def load(self, register: int, offset: int) -> None:
        """Load 4 bytes at *offset* from where register 1 points."""
        self._instructions.append((0x61, register, R1, offset, 0))  # LDX | MEM | W

    def copy(self, register: int, other: int) -> None:
        self._instructions.append((0xBF, register, other, 0, 0))  # ALU64 | MOV | X

    def keep_bits(self, register: int, bits: int) -> None:
        self._instructions.append((0x57, register, 0, 0, bits))  # ALU64 | AND | K

    def shift_right(self, register: int, bits: int) -> None:
        self._instructions.append((0x77, register, 0, 0, bits))  # ALU64 | RSH | K

    def jump(self, label: str) -> None:
        self._instructions.append((0x05, 0, 0, label, 0))  # JMP | JA

    def jump_if_not_equal(self, register: int, constant: int, label: str) -> None:
        self._instructions.append((0x55, register, 0, label, constant))  # JMP | JNE | K

    def jump_if_any(self, register: int, bits: int, label: str) -> None:
        """Jump if any of *bits* is set."""
        self._instructions.append((0x45, register, 0, label, bits))  # JMP | JSET | K

    def answer(self, value: int) -> None:
        """End with *value* as the result."""
        self._instructions.append((0xB7, R0, 0, 0, value))  # ALU64 | MOV | K
        self._instructions.append((0x95, 0, 0, 0, 0))  # JMP | EXIT

    def label(self, name: str) -> None:
        """The next instruction is where jumps to *name* go."""
        self._labels[name] = len(self._instructions)

    def assemble(self) -> bytes:
        """The instructions as bytes; a jump counts from the instruction after it."""
        code = b""
        for place, (operation, to, source, offset, constant) in enumerate(self._instructions):
            if isinstance(offset, str):
                offset = self._labels[offset] - place - 1
            code += struct.pack("<BBhi", operation, source << 4 | to, offset, constant)
        return code


@act("bpf(2)", code=lambda code: f"{len(code) // 8} instructions")
def load_device_program(code: bytes) -> int:
    """Load *code* as a program for devices; a descriptor of it.

    Raises:
        OSError: EPERM, no CAP_BPF or CAP_SYS_ADMIN; EINVAL or EACCES, the kernel finds fault with the program.
    """
    instructions, license = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"Apache-2.0")
    places = ctypes.addressof(instructions), ctypes.addressof(license)
    return _bpf(_PROG_LOAD, struct.pack("<IIQQ", _TYPE_CGROUP_DEVICE, len(code) // 8, *places))


@act("bpf(2)", cgroup=descriptor, program=descriptor)
def attach_device_program(cgroup: int, program: int) -> None:
    """Let *program* decide for the group behind the descriptor *cgroup*, beside those that do already: all must agree.

    Both may be closed afterwards; the program stays as long as the group.
    """
    _bpf(_PROG_ATTACH, struct.pack("<IIII", cgroup, program, _AT_CGROUP_DEVICE, _ALLOW_MULTI))


@act("bpf(2)", cgroup=descriptor, program=descriptor)
def detach_device_program(cgroup: int, program: int) -> None:
    """The opposite."""
    _bpf(_PROG_DETACH, struct.pack("<III", cgroup, program, _AT_CGROUP_DEVICE))


@contextlib.contextmanager
def attached_device_programs(cgroup: int) -> Iterator[list[int]]:
    """Descriptors of the programs that decide for the group now, open in the block."""
    ids = (ctypes.c_uint32 * _MOST_ATTACHED)()
    attribute = _attribute(struct.pack("<IIIIQI", cgroup, _AT_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), len(ids)))
    _call(_PROG_QUERY, attribute)
    (count,) = struct.unpack_from("<I", attribute.raw, 24)
    programs: list[int] = []
    try:
        programs += [_bpf(_PROG_GET_FD_BY_ID, struct.pack("<I", id)) for id in ids[:count]]
        yield programs
    finally:
        for program in programs:
            os.close(program)


def _bpf(command: int, fields: bytes) -> int:
    return _call(command, _attribute(fields))


def _attribute(fields: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(fields.ljust(_ATTRIBUTE_BYTES, b"\0"), _ATTRIBUTE_BYTES)


def _call(command: int, attribute: ctypes.Array[ctypes.c_char]) -> int:
    while (result := syscall(NUMBERS["bpf"], command, attribute, _ATTRIBUTE_BYTES)) == -1:
        if ctypes.get_errno() != errno.EAGAIN:  # the check of a program was interrupted by a signal
            raise os_error("bpf(2)")
    return result
