"""The file by which a profile is asked for must be the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minicontainerd.linux import apparmor


def test_a_file_that_an_image_put_there_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "exec").touch()
    with (tmp_path / "exec").open("w") as file, pytest.raises(OSError, match="not the kernel's"):
        apparmor.expect_proc(file.fileno())


def test_a_file_of_the_kernels_is() -> None:
    with Path("/proc/self/attr/exec").open() as file:
        apparmor.expect_proc(file.fileno())


@pytest.mark.skipif(apparmor.is_enabled(), reason="this kernel confines by AppArmor")
def test_without_apparmor_no_profile_can_be_asked_for() -> None:
    pid = os.fork()
    if pid == 0:
        try:
            apparmor.change_on_exec("no-such-profile")
        except OSError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
