"""``--explain``: the story of one run, told by everybody who takes part.

The container's spec carries the name of a file in an annotation; the shim and the runtime append to it what they do,
one JSON entry a line (``linux/tell.py``). Meanwhile it is read here and printed, indented, on standard error. Against a
daemon whose shim knows nothing of the annotation, the story is short: nobody tells it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace

from minicontainerd.cli.spec_flags import Flags
from minicontainerd.linux.tell import Story, render, telling

ANNOTATION = "org.minicontainerd.explain"
"""Names the file that shim and runtime append their story to."""


_BUNDLE = re.compile(r"/[^ '=,:]*/io\.containerd\.runtime\.v2\.task/[^/' ]+/")
"""The folder of all bundles: long, the same in every line, and nothing that a reader would miss."""


@contextlib.contextmanager
def explained(wanted: bool, flags: Flags) -> Iterator[Flags]:
    """*flags* with the annotation, and the story printed until the end of the block; as they are if not *wanted*."""
    if not wanted:
        yield flags
        return
    descriptor, path = tempfile.mkstemp(prefix="minicontainerd-explain-", suffix=".jsonl")
    os.close(descriptor)
    ended = threading.Event()
    reader = threading.Thread(target=_print_story, args=(path, ended))
    reader.start()
    try:
        yield replace(flags, annotation=(*flags.annotation, f"{ANNOTATION}={path}"))
    finally:
        ended.set()
        reader.join()
        os.unlink(path)


@contextlib.contextmanager
def told(flags: Flags, by: str) -> Iterator[None]:
    """Tell what this process does in the block as well, if *flags* say that somebody listens."""
    path = next((text.partition("=")[2] for text in flags.annotation if text.startswith(f"{ANNOTATION}=")), "")
    if not path:
        yield
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        with telling(Story(descriptor, by=by)):
            yield
    finally:
        os.close(descriptor)


def _print_story(path: str, ended: threading.Event) -> None:
    with open(path) as story:
        while True:
            last = ended.wait(0.02)  # looked at before reading, so that nothing is missed at the end
            for line in story:
                with contextlib.suppress(ValueError):
                    print(_BUNDLE.sub("…/", render(json.loads(line))), file=sys.stderr, flush=True)
            if last:
                return
