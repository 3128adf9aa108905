"""``minirunc``: the program. Out of reach first, then what the command line says.

Whoever may fork into a container executes itself once more, from a place where a container cannot get at the
interpreter (shelter.py). All that was imported before is imported again then, so that comes first, and the rest of the
room after it.

Read next: dispatch.py, the command line.
"""

from __future__ import annotations

import gc
import os
import sys

_FORKING = {"create", "run", "exec"}


def main() -> None:
    """Do what the command line says, and leave.

    It lives for milliseconds, so it neither collects garbage nor takes Python apart at the end; both would show.
    """
    gc.disable()
    if _FORKING.intersection(sys.argv):  # also where such a word means something else: it costs little
        from . import shelter

        shelter.enter()
    from .dispatch import run_command

    status = run_command(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
