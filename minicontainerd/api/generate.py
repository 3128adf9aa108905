"""Makes the ``*_pb2.py`` files out of the ``.proto`` files beside them: ``python -m minicontainerd.api.generate``.

The protobuf packages are containerd's (``containerd.services.content.v1`` and so on), for those names are on the
wire. The *files* live below ``minicontainerd/api``, so that the Python modules do too: containerd's own layout would
make a top-level package ``types``, and Python already has one.

What is generated is checked in, so that a reader and an installation need no compiler; a test makes it again and
compares.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def proto_files() -> list[str]:
    """Every ``.proto`` file of the package, relative to the folder that holds ``minicontainerd/``."""
    return sorted(str(path.relative_to(ROOT)) for path in Path(__file__).parent.rglob("*.proto"))


def generate(target: Path) -> None:
    """Write the Python modules and their type stubs for all ``.proto`` files below *target*.

    Raises:
        RuntimeError: the compiler refused a file; it has said why on standard error.
    """
    from grpc_tools import protoc

    well_known = str(resources.files("grpc_tools") / "_proto")
    google_rpc = str(Path(next(iter(__import__("google.rpc").rpc.__path__))).parents[1])
    arguments = ["protoc", f"-I{ROOT}", f"-I{well_known}", f"-I{google_rpc}"]
    arguments += [f"--python_out={target}", f"--pyi_out={target}", *proto_files()]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc failed")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
