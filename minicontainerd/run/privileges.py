"""The last steps before the program: giving up, for good, what the config does not grant.

Every step takes away something that a later one might have needed, so the order is not free::

    bounding set      while CAP_SETPCAP is still held
    groups, user      with KEEPCAPS, or leaving user 0 would empty the permitted set
    the three sets    of capset(2), now that the user is right
    ambient set       which must lie within permitted and inheritable
    seccomp           before all of these without no_new_privs, for then it takes CAP_SYS_ADMIN; else last of all

Source: runtime-spec 1.3 config.md#linux-process and #posix-process.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from ..linux import capabilities, process

if TYPE_CHECKING:
    from ..oci.runtime import Capabilities, User


def become(user: User, granted: Capabilities, cwd: str) -> None:
    """Change into *cwd*, become *user* with exactly the capabilities *granted*; what is not named is none."""
    capabilities.limit_bounding(capabilities.mask_of(granted.get("bounding", [])))
    inside = _enter(cwd)
    process.set_keep_capabilities(True)
    _change_user(user)
    process.set_keep_capabilities(False)
    _set_capabilities(granted)
    if not inside:
        # A folder that root may not enter (NFS with root squashed) can be open to the user.
        os.chdir(cwd)
    if "umask" in user:
        os.umask(user["umask"] & 0o777)  # as the kernel does, but Python refuses what is too large for a C int


def own_streams(uid: int) -> None:
    """Make the standard streams the user's, so that it can open /dev/stdout again by name.

    Shared devices, /dev/null before all, stay as they are; what cannot be changed is left, as runc does.
    """
    for descriptor in (0, 1, 2):
        status = os.fstat(descriptor)
        if status.st_uid == uid or (stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) == 1):
            continue
        try:
            os.fchown(descriptor, uid, -1)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS, errno.EACCES):
                raise


def _enter(cwd: str) -> bool:
    try:
        os.chdir(cwd)
    except PermissionError:
        return False
    return True


def _change_user(user: User) -> None:
    # A user namespace whose setgroups is denied keeps its groups; asking for none there is no error.
    groups = user.get("additionalGids", [])
    if groups or _may_set_groups():
        process.set_groups(groups)
    process.set_gid(user.get("gid", 0))
    process.set_uid(user.get("uid", 0))


def _may_set_groups() -> bool:
    try:
        with open("/proc/self/setgroups", encoding="utf-8") as file:  # another codec would be imported, from the image
            return file.read().strip() != "deny"
    except OSError:
        return True


def _set_capabilities(granted: Capabilities) -> None:
    _, permitted_now, _ = capabilities.capget()
    permitted = capabilities.mask_of(granted.get("permitted", [])) & permitted_now
    effective = capabilities.mask_of(granted.get("effective", [])) & permitted
    inheritable = capabilities.mask_of(granted.get("inheritable", [])) & permitted_now
    capabilities.capset(effective, permitted, inheritable)
    capabilities.set_ambient(capabilities.mask_of(granted.get("ambient", [])) & permitted & inheritable)
