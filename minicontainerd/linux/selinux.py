"""SELinux: a label on every process and every file, and a policy that says which may do what with which.

A label is four words, ``user:role:type:range``; what counts between containers is the type and, in the range, the
categories. The kernel has one policy, loaded by the host. Who is to start under another label asks for it in /proc,
and gets it with the next execve, if the policy lets the one become the other. A file's label is an extended attribute;
a filesystem without them is given one label for all that is in it, as an option when it is mounted.

Source: Linux Documentation/admin-guide/LSM/SELinux.rst, security/selinux/hooks.c of 6.1.
"""

from __future__ import annotations

import os

from .kernel_file import write_proc
from .tell import act


def is_enabled() -> bool:
    """Does this kernel go by labels? Until a policy is loaded all that there is has the label ``kernel``."""
    if not os.path.exists("/sys/fs/selinux/enforce"):
        return False
    with open("/proc/self/attr/current", encoding="utf-8") as file:
        return file.read().rstrip("\0\n") != "kernel"


@act("setexeccon(3)")
def change_on_exec(label: str) -> None:
    """From the next execve on, have *label*; see :func:`.apparmor.change_on_exec` for the file.

    Raises:
        FileNotFoundError: there is no /proc.
        OSError: EINVAL, the policy does not know *label*, or what is at /proc is something else.
        PermissionError: EACCES, the policy does not let the caller ask.
    """
    write_proc("thread-self/attr/exec", label)


@act("setkeycreatecon(3)")
def label_keys(label: str) -> None:
    """From now on, keys and keyrings that the caller makes have *label*.

    Raises:
        OSError: as :func:`change_on_exec` does.
    """
    write_proc("thread-self/attr/keycreate", label)


@act("setfilecon(3)")
def label_file(path: str, label: str) -> None:
    """Give what is at *path* the *label*.

    Raises:
        OSError: ENOTSUP, its filesystem has no labels; EINVAL, the policy does not know *label*.
    """
    os.setxattr(path, "security.selinux", label.encode())


def mount_data(data: str, label: str) -> str:
    """The option text *data* of a mount, and the one that gives its files *label*; quoted, for categories have commas.

    >>> mount_data("size=1m", "system_u:object_r:container_file_t:s0:c1,c2")
    'size=1m,context="system_u:object_r:container_file_t:s0:c1,c2"'
    """
    return f'{data},context="{label}"' if data else f'context="{label}"'
