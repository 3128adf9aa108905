"""What went wrong, for people on standard error and for programs in a file.

A shim starts the runtime with ``--log FILE --log-format json`` and, when it failed, looks in that file for the last
line whose level is ``error``. Each line is an object with ``level``, ``msg`` and ``time`` in RFC 3339.

Source: containerd@301026e cmd/containerd-shim-runc-v2/process/utils.go, ``getLastRuntimeError``.
"""

from __future__ import annotations

import json
import os
import sys
import time


class Log:
    """Where the command reports to: *path* (none: standard error) in *format*, ``text`` or ``json``."""

    def __init__(self, path: str = "", format: str = "text") -> None:
        self.path = path
        self.format = format

    def error(self, message: str) -> None:
        """The reason why the command fails; with a log file it is told on standard error as well."""
        self._write("error", message)
        if self.path:
            print(message, file=sys.stderr)

    def warning(self, message: str) -> None:
        """Something the caller should know, though the command goes on."""
        self._write("warning", message)

    def _write(self, level: str, message: str) -> None:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.format == "json":
            line = json.dumps({"level": level, "msg": message, "time": moment}, separators=(",", ":"))
        else:
            line = f"time={json.dumps(moment)} level={level} msg={json.dumps(message, ensure_ascii=False)}"
        if not self.path:
            print(line, file=sys.stderr)
            return
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, line.encode() + b"\n")  # one write: several commands share the file
        finally:
            os.close(descriptor)
