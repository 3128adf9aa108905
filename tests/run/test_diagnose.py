"""The likely cause of a failed execve, each made for real, and asked of the kernel first."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.runtime.test_failures import EM_AARCH64, EM_S390, EM_X86_64, elf
from minicontainerd.run.diagnose import cause_of

OTHER = EM_AARCH64 if os.uname().machine == "x86_64" else EM_X86_64
HERE = EM_X86_64 if os.uname().machine == "x86_64" else EM_AARCH64


def content(data: bytes, mode: int = 0o755) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(data)
        path.chmod(mode)

    return make


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


CASES = {
    "interpreter": (content(b"#!/no/sh -e\n"), "the interpreter of the script, /no/sh, is not there"),
    "windows": (content(b"#!/bin/sh\r\n"), "CR LF"),
    "loader": (content(elf(HERE, "/no/ld.so")), "needs the loader /no/ld.so, which is not there"),
    "machine": (content(elf(OTHER)), "it is made for"),
    "big-endian": (content(elf(EM_S390)), "it is made for s390x, and this machine is"),
    "damaged": (content(elf(HERE)[:30]), "its ELF header is damaged"),
    "text": (content(b"echo\n"), "text without a first line like #!/bin/sh"),
    "empty": (content(b""), "the file is empty"),
    "binary": (content(b"MZ\0\0"), "no ELF program and no script"),
    "mode": (content(b"#!/bin/sh\n", 0o644), "nobody may execute it (mode 0644: chmod +x)"),
    "folder": (lambda path: path.mkdir(), "it is a folder"),
    "fifo": (lambda path: os.mkfifo(path, 0o755), "no regular file"),
    "interpreter-mode": (content(b"#!/etc/passwd\n"), "/etc/passwd, which has to run it: nobody may execute it"),
    "dangling": (link("/no/where"), "it is a link to /no/where, which is not there"),
    "circle": (link("program"), "in a circle"),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_cause_is_named(tmp_path: Path, kind: str) -> None:
    make, words = CASES[kind]
    path = tmp_path / "program"
    make(path)
    with pytest.raises(OSError) as refused:
        os.execve(path, ["program"], {})
    assert words in cause_of(str(path), refused.value.errno or 0, ["program"], {})


def test_the_first_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    assert cause_of(f"{tmp_path}/one/two/three", 2, [], {}) == f"the folder {tmp_path}/one is not there"
    assert cause_of(f"{tmp_path}/three", 2, [], {}) == ""


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["x" * 200_000], {}, "an argument has 200001 bytes"),
        (["x"], {"BIG": "x" * 200_000}, "BIG has 200005 bytes, and the kernel takes 131072"),
        (["x" * 100_000] * 100, {}, "a quarter of the stack's limit"),
    ],
)
def test_what_is_too_big_is_named(arguments: list[str], environment: dict[str, str], words: str) -> None:
    with pytest.raises(OSError) as refused:
        os.execve("/bin/true", arguments, environment)
    assert words in cause_of("/bin/true", refused.value.errno or 0, arguments, environment)


def test_a_file_that_lies_about_itself_ends_in_no_cause(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(elf(HERE, "/x")[:80])
    assert cause_of(str(path), 2, [], {}) == ""
