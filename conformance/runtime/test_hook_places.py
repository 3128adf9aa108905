"""Where and when a hook runs that is a file of the host: what it sees of the container and of the host."""

from __future__ import annotations

import pytest

from .harness import Container, namespace

HOOK = """#!/bin/sh
pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')
test "$3" = inside && pid=self
test "$(readlink /proc/$pid/ns/net)" != "$2" && echo "its namespaces are made"
grep -q " $1/rootfs/dev " /proc/$pid/mountinfo && echo "its mounts are made"
test -e "/proc/$pid/root$1/config.json" && echo "its root is still the host's"
test -e "$1/config.json" && echo "a path is one of the host's"
"""


@pytest.mark.clause("config.hooks.{kind}-when", "config.hooks.{kind}-path", "runtime.lifecycle.{kind}")
@pytest.mark.parametrize("kind", ["prestart", "create-runtime", "create-container"])
def test_a_hook_of_create_finds_the_environment_made_and_the_root_not_changed(container: Container, kind: str) -> None:
    said, hook = container.bundle / "said", container.bundle / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    where = "inside" if kind == "create-container" else "outside"
    first, _, rest = kind.partition("-")
    arguments = ["-c", f'exec "{hook}" "{container.bundle}" "{namespace("self", "net")}" {where} > "{said}"']
    each = {"path": "/bin/sh", "args": ["sh", *arguments], "env": ["PATH=/usr/bin:/bin"]}
    container.config["hooks"] = {first + rest.capitalize(): [each]}
    container.args("sleep", "1000").create()
    assert said.read_text().splitlines() == [
        "its namespaces are made",
        "its mounts are made",
        "its root is still the host's",
        "a path is one of the host's",
    ]


@pytest.mark.clause("config.hooks.{kind}-path", "runtime.lifecycle.{kind}")
@pytest.mark.parametrize("kind", ["poststart", "poststop"])
def test_a_hook_of_later_is_a_file_of_the_host(container: Container, kind: str) -> None:
    mark, hook = container.bundle / "mark", container.bundle / "hook"
    hook.write_text(f'#!/bin/sh\necho called > "{mark}"\n')
    hook.chmod(0o755)
    container.config["hooks"] = {kind: [{"path": str(hook)}]}
    container.create().start().wait("stopped").delete()
    assert mark.read_text() == "called\n"
