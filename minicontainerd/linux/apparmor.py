"""AppArmor: which profile a process is confined by, a list of what it may do with which files.

Profiles are loaded into the kernel by ``apparmor_parser`` and have names. A process asks for one by writing to a file
of its own in /proc; with ``exec`` before the name, the change comes with its next execve, and not before.
Source: Linux Documentation/admin-guide/LSM/apparmor.rst, security/apparmor/lsm.c of 6.1.
"""

from __future__ import annotations

from .kernel_file import write_proc
from .tell import act


def is_enabled() -> bool:
    """Does this kernel confine by AppArmor?"""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            return file.read().startswith("Y")
    except FileNotFoundError:
        return False


@act("aa_change_onexec(2)")
def change_on_exec(profile: str) -> None:
    """From the next execve on, be confined by *profile*.

    Raises:
        FileNotFoundError: no such profile is loaded, or there is no /proc.
        OSError: EINVAL, what is at /proc is something else: a program may put a file there to stay unconfined.
    """
    write_proc("thread-self/attr/exec", f"exec {profile}")
