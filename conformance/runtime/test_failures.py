"""Programs that cannot be executed: which command fails, and in which words."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import pytest

from .harness import Container, Failure

EM_X86_64, EM_AARCH64, EM_S390 = 62, 183, 22


def elf(machine: int, loader: str = "") -> bytes:
    """An executable of 64 bits that is only a header, and perhaps names its *loader*."""
    order = ">" if machine == EM_S390 else "<"
    ident = b"\x7fELF\x02" + (b"\x02" if order == ">" else b"\x01") + b"\x01" + bytes(9)
    name = loader.encode() + b"\0" if loader else b""
    header = struct.pack(order + "HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, bool(loader), 0, 0, 0)
    place = struct.pack(order + "IIQQQQQQ", 3, 4, 120, 0, 0, len(name), len(name), 1) if loader else b""
    return ident + header + place + name


def _file(content: bytes, mode: int = 0o755) -> Callable[[Container], None]:
    def make(container: Container) -> None:
        program = container.rootfs / "program"
        program.write_bytes(content)
        program.chmod(mode)

    return make


def _folder(container: Container) -> None:
    (container.rootfs / "program").mkdir()


def _links_in_a_circle(container: Container) -> None:
    (container.rootfs / "program").symlink_to("other")
    (container.rootfs / "other").symlink_to("program")


def _on_a_noexec_mount(container: Container) -> None:
    outside = container.bundle / "outside"
    outside.write_text("#!/bin/sh\n")
    outside.chmod(0o755)
    options = ["bind", "noexec"]
    container.config["mounts"].append(
        {"destination": "/program", "type": "bind", "source": str(outside), "options": options}
    )


Broken = dict[str, tuple[Callable[[Container], None], str]]

AT_CREATE: Broken = {
    "missing": (lambda container: None, "no such file or directory"),
    "no-permission": (_file(b"#!/bin/sh\n", 0o644), "permission denied"),
    "folder": (_folder, "permission denied|is a directory"),
    "links": (_links_in_a_circle, "too many levels of symbolic links"),
    "noexec": (_on_a_noexec_mount, "permission denied"),
}
AT_START: Broken = {
    "no-interpreter": (_file(b"#!/bin/nope\n"), "no such file or directory"),
    "crlf": (_file(b"#!/bin/sh\r\necho\r\n"), "no such file or directory"),
    "no-loader": (_file(elf(EM_X86_64, "/lib64/no-loader.so")), "no such file or directory"),
    "machine": (_file(elf(EM_S390)), "exec format error"),
    "text": (_file(b"echo no shebang\n"), "exec format error"),
    "empty": (_file(b""), "exec format error"),
    "interpreter-no-permission": (_file(b"#!/etc/passwd\n"), "permission denied"),
}


@pytest.mark.clause("cli.create.program-missing", "cli.words.not-executable", "runtime.errors.no-trace")
@pytest.mark.parametrize("kind", AT_CREATE)
def test_what_can_be_seen_beforehand_fails_create(container: Container, kind: str) -> None:
    make, words = AT_CREATE[kind]
    make(container)
    with pytest.raises(Failure, match=f"(?i){words}"):
        container.args("/program").create()


@pytest.mark.clause("cli.start.program-unfit", "cli.words.not-executable")
@pytest.mark.parametrize("kind", AT_START)
def test_what_only_the_kernel_sees_is_told_where_the_program_would_have_written(
    container: Container, kind: str
) -> None:
    make, words = AT_START[kind]
    make(container)
    container.args("/program").create().start().wait("stopped")
    assert re.search(f"(?i){words}", container.written())


@pytest.mark.clause("cli.exec.program-unfit", "cli.words.not-executable")
@pytest.mark.parametrize("kind", [*AT_CREATE, *AT_START])
def test_exec_tells_both_to_its_caller(container: Container, kind: str) -> None:
    make, words = {**AT_CREATE, **AT_START}[kind]
    make(container)
    container.args("sleep", "1000").create().start()
    with pytest.raises(Failure, match=f"(?i){words}") as failure:
        container.exec("/program")
    assert failure.value.status != 0


@pytest.mark.clause("cli.words.no-executable")
def test_a_name_is_looked_for_in_path_among_executables(container: Container) -> None:
    (container.rootfs / "bin/data").write_text("#!/bin/sh\n")
    with pytest.raises(Failure, match="(?i)executable file.*not found|permission denied"):
        container.args("data").create()


@pytest.mark.clause("cli.exec.program-unfit")
def test_too_large_an_environment_is_told(container: Container) -> None:
    container.process["env"].append("BIG=" + "x" * 200_000)
    container.create().start().wait("stopped")
    assert "rgument list too long" in container.written()


@pytest.mark.clause("config.values.invalid-errors", "runtime.create.cannot-apply-nothing")
def test_a_working_folder_that_is_a_file_is_told(container: Container) -> None:
    (container.rootfs / "file").touch()
    container.process["cwd"] = "/file"
    with pytest.raises(Failure, match="(?i)not a directory|file exists"):
        container.create()
