"""Starting a shim's program: which one a runtime's name means, and how it is run.

A shim is a program like any other. It is run with its bundle as working directory, the daemon's addresses as flags
and environment, and what to do as its last argument: ``start`` leaves a server behind and prints where that listens,
``delete`` cleans up after one that died. Our own is not executed but forked, by the zygote, with the same words.

Source: containerd@301026e core/runtime/v2/{binary,shim_manager}.go, core/runtime/v2/README.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from minicontainerd.daemon.bundle import Bundle
from minicontainerd.daemon.zygote import Zygote
from minicontainerd.errors import InvalidArgument, NotFound, Unavailable, Unknown

log = logging.getLogger(__name__)

OURS = ("io.containerd.runc.v2", "io.containerd.mini.v2", "")
"""Runtime names that mean our own shim; every other name means the program that containerd would look for."""


def find_binary(runtime: str) -> str:
    """The shim that a runtime's name stands for: ``io.containerd.kata.v2`` is ``containerd-shim-kata-v2``.

    A path is taken as it is. A program is looked for in PATH and beside this interpreter.

    Raises:
        InvalidArgument: *runtime* is neither name nor path.
        NotFound: there is no such program.
    """
    if runtime.startswith("/"):
        if not os.access(runtime, os.X_OK):
            raise NotFound(f"invalid custom binary path: {runtime}")
        return runtime
    if runtime in OURS:
        name = "containerd-shim-mini-v2"
    else:
        parts = runtime.split(".")
        if len(parts) < 2 or not all(parts):
            raise InvalidArgument(
                f"invalid runtime name {runtime}, correct runtime name should be either format like "
                "`io.containerd.runc.v2` or a full path to the binary"
            )
        name = f"containerd-shim-{parts[-2]}-{parts[-1]}"
    here = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join([here, os.environ.get("PATH", os.defpath)]))
    if found is None:
        raise NotFound(
            f'failed to resolve runtime path: runtime "{runtime}" binary not installed "{name}": file does not exist'
        )
    return found


class Launcher:
    """Runs shims' programs for the daemon at *address*; ours by *zygote*, if there is one."""

    def __init__(self, address: str, zygote: Zygote | None = None, *, debug: bool = False) -> None:
        self._address = address
        self._zygote = zygote
        self._debug = debug

    async def run(self, bundle: Bundle, binary: str, action: list[str], given: bytes = b"") -> bytes:
        """Run *binary* for *bundle* as containerd does, with *given* as standard input; its standard output.

        Raises:
            Unknown: it failed; the message is what it printed.
        """
        flags = ["-namespace", bundle.namespace, "-address", self._address]
        flags += ["-publish-binary", sys.argv[0], "-id", bundle.id, *(["-debug"] if self._debug else []), *action]
        added = {
            "TTRPC_ADDRESS": f"{self._address}.ttrpc",
            "GRPC_ADDRESS": self._address,
            "NAMESPACE": bundle.namespace,
            "MAX_SHIM_VERSION": "3",
        }
        if self._zygote is not None and binary == self._zygote.program:
            try:
                return await self._zygote.run(flags, str(bundle.path), added, given)
            except Unavailable as error:
                log.warning("%s; %s is started instead", error, binary)
        return await _execute([binary, *flags], given, cwd=bundle.path, env={**os.environ, **added})


async def runtime_info(binary: str, options: bytes) -> bytes:
    """What ``binary -info`` prints: a protobuf RuntimeInfo."""
    return await _execute([binary, "-info"], options)


async def _execute(command: list[str], given: bytes, **where: Any) -> bytes:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, **where)
    output, errors = await process.communicate(given)
    if process.returncode:
        said = (errors or output).decode(errors="replace").strip()
        raise Unknown(f"{said}: exit status {process.returncode}" if said else f"exit status {process.returncode}")
    return output
