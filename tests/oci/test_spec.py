"""The spec that a client writes, and who the process is."""

import pytest

from minicontainerd.errors import InvalidArgument, NotFound
from minicontainerd.oci import spec as specs
from minicontainerd.oci.image import ExecConfig
from minicontainerd.oci.user import User, resolve

PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n# comment:x:1:1\nbroken\n"
GROUP = "root:x:0:\napp:x:1001:\nextra:x:1002:root,app\nfull:x:1003:nobody\n"


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("", User(0, 0, (1002,))),
        ("root", User(0, 0, (1002,))),
        ("app", User(1000, 1001, (1002,))),
        ("1000", User(1000, 1001, (1002,))),
        ("app:extra", User(1000, 1002, ())),
        ("app:7", User(1000, 7, (1002,))),
        ("4242", User(4242, 0, ())),
        ("4242:4243", User(4242, 4243, ())),
    ],
)
def test_users(text: str, user: User) -> None:
    assert resolve(text, PASSWD, GROUP) == user


@pytest.mark.parametrize("text", ["nobody", "app:nobody", ":", "app:", "a:b:c", "99999999999"])
def test_no_users(text: str) -> None:
    with pytest.raises((NotFound, InvalidArgument)):
        resolve(text, PASSWD, GROUP)


def test_the_image_says_what_to_run_and_the_caller_may_change_it() -> None:
    spec = specs.default("ns", "c")
    config = ExecConfig(env=["A=1"], entrypoint=["/entry"], cmd=["default"], working_dir="/w")
    specs.apply_image(spec, config)
    assert spec["process"]["args"] == ["/entry", "default"] and spec["process"]["cwd"] == "/w"
    assert spec["process"]["env"] == ["A=1", specs.DEFAULT_PATH]
    specs.apply_image(spec, config, ["other"])
    assert spec["process"]["args"] == ["/entry", "other"]
    with pytest.raises(InvalidArgument, match="no arguments specified"):
        specs.apply_image(spec, ExecConfig())


def test_a_default_shares_nothing_with_the_next() -> None:
    first = specs.default("ns", "a")
    specs.change_capabilities(first, ["CAP_SYS_ADMIN"], ["CAP_CHOWN"])
    specs.make_privileged(first, ["CAP_BPF"], [])
    second = specs.default("ns", "b")
    assert "CAP_SYS_ADMIN" not in second["process"]["capabilities"]["bounding"]
    assert second["linux"]["maskedPaths"] and second["linux"]["resources"]["devices"][0]["allow"] is False


def test_mounts_as_ctr_writes_them() -> None:
    spec = specs.default("ns", "c")
    specs.add_mount(spec, "type=bind,src=/a,dst=/b,options=rbind:ro")
    assert spec["mounts"][-1] == {"type": "bind", "source": "/a", "destination": "/b", "options": ["rbind", "ro"]}
    for wrong in ("type=bind", "nonsense", "typ=bind,dst=/b"):
        with pytest.raises(InvalidArgument):
            specs.add_mount(spec, wrong)


def test_namespaces_are_joined_or_left() -> None:
    spec = specs.default("ns", "c")
    specs.join_namespace(spec, "pid", "/proc/1/ns/pid")
    specs.share_host_network(spec, "host")
    kinds = {each["type"]: each.get("path") for each in spec["linux"]["namespaces"]}
    assert kinds["pid"] == "/proc/1/ns/pid" and "network" not in kinds
