"""What is bound by the parent has the options that were asked for.

Not in the conformance suite: runc and crun refuse a mount whose type alone is ``bind``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from conformance import leaks
from conformance.runtime.harness import Container, Runtime, make_rootfs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers need root")


def test_a_bind_by_its_type_alone_is_read_only_in_a_user_namespace_too(tmp_path: Path) -> None:
    leaks.become_subreaper()
    make_rootfs(tmp_path / "bundle/rootfs")
    (tmp_path / "source").mkdir()
    container = Container(Runtime(str(Path(sys.executable).parent / "minirunc"), tmp_path), tmp_path / "bundle")
    container.config["mounts"].append(
        {"destination": "/data", "type": "bind", "source": str(tmp_path / "source"), "options": ["ro"]}
    )
    container.linux["namespaces"].append({"type": "user"})
    mappings = [{"containerID": 0, "hostID": 0, "size": 65536}]
    container.linux.update(uidMappings=mappings, gidMappings=mappings)
    try:
        assert "Read-only file system" in container.shell("touch /data/file 2>&1").run()
    finally:
        container.end()
        leaks.remove_empty_parents()
    assert not list((tmp_path / "source").iterdir())
