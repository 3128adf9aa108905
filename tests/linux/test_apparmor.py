"""Asking for a profile."""

from __future__ import annotations

import os

import pytest

from minicontainerd.linux import apparmor


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
