"""Files that are not files: settings of the kernel under /proc, /sys and in cgroups.

Writing one is a call in disguise. The text must arrive in a single write(2), the file must not be created or cut
short, and the error is the kernel's answer to the value. Python's buffered files do neither well.
"""

from __future__ import annotations

import os


def write_setting(path: str, text: str) -> None:
    """Give the kernel's file *path* the value *text*, in one write(2).

    Raises:
        FileNotFoundError: this kernel, or this cgroup, has no such setting.
        OSError: EINVAL and others, the kernel refuses the value.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)
