"""Containers as the shim makes them: by functions, in a process that is there already.

``python -m bench.in_process ROOT BUNDLE`` waits for lines. For each, which is an id, one container lives and dies; the
answer is how many milliseconds that took.
"""

from __future__ import annotations

import functools
import gc
import os
import sys

from minicontainerd.linux.process import set_child_subreaper
from minicontainerd.run import create, device_rules, operate, shelter, state

from .series import milliseconds


def main() -> None:
    """Serve until standard input ends."""
    shelter.enter()
    set_child_subreaper()
    device_rules.keep_usual_program()  # this and the next are what the shim's zygote does
    gc.freeze()
    root, bundle = sys.argv[1:]
    for line in sys.stdin:
        print(milliseconds(functools.partial(life, root, bundle, line.strip())), flush=True)


def life(root: str, bundle: str, id: str) -> None:
    """What ``run`` does: create, start, wait, delete."""
    options = create.Options(streams=(2, 2, 2))
    container = create.create(root, id, bundle, options)
    operate.start(container)
    os.waitpid(container.pid, 0)
    operate.delete(state.load(root, id), options.warn)


if __name__ == "__main__":
    main()
