"""Filters: compiled from the config's words, and loaded in a child, where they hold."""

from __future__ import annotations

import ctypes.util
import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from minicontainerd.linux import seccomp
from minicontainerd.linux.process import set_no_new_privs

pytestmark = pytest.mark.skipif(not ctypes.util.find_library("seccomp"), reason="libseccomp is not installed")

ALLOW: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW"}


def refusing(name: str, **more: Any) -> dict[str, Any]:
    return {**ALLOW, "syscalls": [{"names": [name], "action": "SCMP_ACT_ERRNO", **more}]}


def errno_in_a_child(filter: seccomp.Program, call: Callable[[], object]) -> int:
    """The errno with which *call* fails under *filter*; 0 if it does not."""
    child = os.fork()
    if child == 0:
        status = 255
        try:
            set_no_new_privs()
            seccomp.load(filter)
            call()
            status = 0
        except OSError as error:
            status = error.errno or 254
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("more", "expected"), [({}, errno.EPERM), ({"errnoRet": errno.ENOSYS}, errno.ENOSYS)])
def test_a_refused_call_fails_with_the_number_asked_for(more: dict[str, int], expected: int) -> None:
    filter = seccomp.compile(refusing("mkdirat", **more))
    folder = os.open("/", os.O_PATH)
    assert errno_in_a_child(filter, lambda: os.mkdir("no-such-folder/x", dir_fd=folder)) == expected
    assert errno_in_a_child(filter, lambda: os.stat("/")) == 0
    os.close(folder)


def test_arguments_are_looked_at_and_several_of_one_mean_or() -> None:
    arguments = [{"index": 0, "op": "SCMP_CMP_EQ", "value": value} for value in (4711, 4712)]
    filter = seccomp.compile(refusing("getpgid", args=arguments, errnoRet=errno.EBADF))
    assert errno_in_a_child(filter, lambda: os.getpgid(4711)) == errno.EBADF
    assert errno_in_a_child(filter, lambda: os.getpgid(4712)) == errno.EBADF
    assert errno_in_a_child(filter, lambda: os.getpgid(0)) == 0


def test_a_call_that_the_library_does_not_know_is_passed_over() -> None:
    assert seccomp.compile(refusing("call_of_the_future")) == seccomp.compile(ALLOW)


@pytest.mark.parametrize(
    "config",
    [
        {"defaultAction": "SCMP_ACT_MAYBE"},
        {**ALLOW, "architectures": ["SCMP_ARCH_ABACUS"]},
        {**ALLOW, "flags": ["SECCOMP_FILTER_FLAG_MAYBE"]},
        refusing("mkdir", args=[{"index": 0, "op": "SCMP_CMP_MAYBE", "value": 1}]),
    ],
)
def test_unknown_words_are_named(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="invalid seccomp .*(MAYBE|ABACUS)"):
        seccomp.compile(config)
