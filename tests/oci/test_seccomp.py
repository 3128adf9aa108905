"""The default filter beside the engines' own: both compiled, both asked about every call, by the machine in between.

The kernel's machine for filters has one register, some scratch cells and jumps; here it is played, so that no process
has to die for the answer.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from minicontainerd.linux import seccomp
from minicontainerd.oci.seccomp import default_profile

THEIRS = Path("/usr/share/containers/seccomp.json")
AUDIT_ARCH = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7}
GO_NAMES = {"x86_64": {"amd64"}, "aarch64": {"arm64"}}
X32 = 0x40000000
MACHINE = os.uname().machine

ARGUMENTS = [
    (0, 0, 0),
    (8, 0, 0),
    (0x20000, 0, 0),
    (0x20008, 0, 0),
    (0xFFFFFFFF, 0, 0),
    (16, 3, 9),
    (16, 3, 0),
    (2, 1, 9),
    (1234567, 1, 1),
]
"""What looks at an argument: personalities, and sockets of the audit log."""

LOOKED_AT = {41, 92, 97, 102, 135, 136, 198, 281, 359}
"""The numbers of socket and personality on these architectures, and some others."""


def answer(program: bytes, number: int, architecture: int, arguments: tuple[int, ...]) -> int:
    """What the filter says to one call: struct seccomp_data through the instructions of linux/filter.h."""
    data = struct.pack("<iIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    place, value = 0, 0
    while True:
        code, if_true, if_false, constant = struct.unpack_from("<HBBI", program, 8 * place)
        place += 1
        if code == 0x06:  # return
            return int(constant)
        if code == 0x20:  # load a word
            (value,) = struct.unpack_from("<I", data, constant)
        elif code == 0x54:  # and
            value &= constant
        elif code == 0x05:  # jump
            place += constant
        else:
            holds = {0x15: value == constant, 0x25: value > constant, 0x35: value >= constant, 0x45: value & constant}
            place += if_true if holds[code] else if_false


def theirs(granted: set[str]) -> dict[str, Any]:
    """The engines' profile for what is *granted*, as they work it out: each rule where it applies, the first wins."""
    profile = json.loads(THEIRS.read_text())
    rules, seen = [], set()
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if set(includes.get("caps") or []) - granted or set(excludes.get("caps") or []) & granted:
            continue
        if includes.get("arches") and not GO_NAMES[MACHINE] & set(includes["arches"]):
            continue
        names = [name for name in rule["names"] if rule.get("args") or name not in seen]
        if not rule.get("args"):
            seen.update(names)
        if names:
            rules.append({**rule, "names": names})
    subs = {each["architecture"]: each["subArchitectures"] for each in profile["archMap"]}
    native = f"SCMP_ARCH_{MACHINE.upper()}"
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": [native, *subs[native]],
        "syscalls": rules,
    }


@pytest.mark.skipif(not THEIRS.exists(), reason="the engines' profile comes with podman, which is not installed")
@pytest.mark.skipif(MACHINE not in GO_NAMES, reason="the profile is known for two machines")
@pytest.mark.parametrize(
    "granted",
    [
        set(),
        {"CAP_SYS_ADMIN"},
        {"CAP_AUDIT_WRITE", "CAP_SYS_CHROOT"},
        {"CAP_DAC_READ_SEARCH", "CAP_SYS_MODULE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE"},
        {"CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG"},
    ],
    ids=lambda granted: "+".join(sorted(each.removeprefix("CAP_") for each in granted)) or "none",
)
def test_the_default_filter_answers_as_the_engines_does(granted: set[str]) -> None:
    ours = seccomp.compile(default_profile(granted, MACHINE)).instructions
    other = seccomp.compile(theirs(granted)).instructions
    calls = [*range(470), *(X32 + number for number in range(0, 560, 3))]
    different = {
        (hex(architecture), number, arguments)
        for architecture in AUDIT_ARCH.values()
        for number in calls
        for arguments in (ARGUMENTS if number in LOOKED_AT else ARGUMENTS[:1])
        if answer(ours, number, architecture, arguments) != answer(other, number, architecture, arguments)
    }
    assert not different


def test_the_player_plays_as_the_kernel_does() -> None:
    rule = {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 9, "op": "SCMP_CMP_GE"}]}
    program = seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}).instructions
    kill = {"x86_64": 62, "aarch64": 129}[MACHINE]
    assert answer(program, kill, AUDIT_ARCH[MACHINE], (1, 9, 0)) == 0x00050001
    assert answer(program, kill, AUDIT_ARCH[MACHINE], (1, 8, 0)) == 0x7FFF0000
    assert answer(program, kill + 1, AUDIT_ARCH[MACHINE], (1, 9, 0)) == 0x7FFF0000
