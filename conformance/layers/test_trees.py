"""An image pulled by containerd and by us is the same tree, entry by entry, on every snapshotter.

The other way round too: what we write as a layer, containerd and umoci unpack to the tree that we took it from.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance import images, tree
from conformance.peers import Ctr
from minicontainerd.oci.image import Descriptor
from minicontainerd.oci.mount import Mount
from minicontainerd.pull.pull import Pulled, Unpacking, pull
from minicontainerd.pull.registry import Options
from minicontainerd.snapshot.apply import apply_layer
from minicontainerd.snapshot.diff import Diff, temporarily
from minicontainerd.snapshot.native import NativeSnapshotter
from minicontainerd.snapshot.overlayfs import OverlaySnapshotter
from minicontainerd.snapshot.snapshotter import Snapshotter
from minicontainerd.store.blobs import Blobs
from minicontainerd.store.content import Content
from minicontainerd.store.database import Database

Changed = tuple[dict[str, tree.Node], bytes, str]
KINDS = {"overlayfs": OverlaySnapshotter, "native": NativeSnapshotter}


class Ours:
    """Our store and one of our snapshotters, in this process."""

    def __init__(self, root: Path, snapshotter: str) -> None:
        self.name = snapshotter
        self.database = Database(root / "metadata.db")
        self.content = Content(self.database, Blobs(root / "content")).within("default")
        self.snapshots: Snapshotter = KINDS[snapshotter](root / "snapshots")
        self.saved: dict[str, Descriptor] = {}

    def pull(self, ref: str) -> Pulled:
        unpacking = Unpacking(self.snapshots, self.name)
        return pull(ref, self.content, self.saved.__setitem__, options=Options(plain_http=True), unpacking=unpacking)


@pytest.fixture(scope="module", params=list(KINDS))
def ours(request: pytest.FixtureRequest, work: Path) -> Iterator[Ours]:
    root = work / f"ours-{request.param}"
    root.mkdir()
    ours = Ours(root, request.param)
    yield ours
    ours.snapshots.close()
    ours.database.close()
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def pulled(ours: Ours, image: str) -> Pulled:
    return ours.pull(image)


@pytest.fixture(scope="module")
def chains(ours: Ours, oracle: Ctr, image: str) -> list[str]:
    """The chain ids of the image, lowest first, as containerd has unpacked them."""
    oracle("images", "pull", "--plain-http", "--snapshotter", ours.name, image)
    rows = [line.split() for line in oracle("snapshots", "--snapshotter", ours.name, "ls").splitlines()[1:]]
    above = {row[1] if len(row) == 3 else "": row[0] for row in rows if row[-1] == "Committed"}
    found = [above[""]]
    while found[-1] in above:
        found.append(above[found[-1]])
    return found


def read(mounts: Sequence[Mount]) -> dict[str, tree.Node]:
    with temporarily(mounts) as root:
        return tree.read(Path(root))


@pytest.mark.clause(
    "image.layer.whiteout",
    "image.layer.opaque",
    "image.layer.attributes",
    "image.layer.replace",
    "image.layer.hardlinks",
)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_snapshot_is_the_same_tree(
    ours: Ours, oracle: Ctr, pulled: Pulled, chains: list[str], depth: int
) -> None:
    chain, key = chains[depth - 1], f"look {depth}"
    oracle(
        "snapshots", "--snapshotter", ours.name, "prepare", key, chain
    )  # ctr keeps this from its collector, a view not
    theirs = read(oracle.mounts(ours.name, key))
    mine = read(ours.snapshots.view(key, chain))
    ours.snapshots.remove(key)
    oracle("snapshots", "--snapshotter", ours.name, "rm", key)
    assert len(mine) > 5000
    timeless = [".", *(name for name in mine if name.startswith("special/a long path"))]  # no layer says their times
    if ours.name == "native":  # containerd's copy of a parent gives its folders the time of the copy
        timeless += folders(mine)
    assert unexpected(ours.name, tree.differences(theirs, mine, no_times=timeless)) == []


def folders(nodes: dict[str, tree.Node]) -> list[str]:
    return [name for name, node in nodes.items() if node.type == "d"]


def unexpected(snapshotter: str, lines: list[str]) -> list[str]:
    """Without what containerd's native snapshotter leaves: attributes of a folder that a later layer does not give it.

    image-spec layer.md says that the attributes must be replaced, and on overlayfs containerd's are.
    """
    return [line for line in lines if snapshotter != "native" or not line.startswith("special: xattrs")]


@pytest.mark.clause("image.config.chain-id")
def test_the_image_is_known_by_the_same_names(ours: Ours, oracle: Ctr, pulled: Pulled, chains: list[str]) -> None:
    assert pulled.chain_id == chains[-1]
    listed = oracle("images", "ls", f"name=={pulled.name}")
    assert pulled.target.digest in listed
    assert pulled.target.media_type in listed


@pytest.mark.clause("containerd.images.labels")
def test_the_same_labels_hold_it_together(ours: Ours, oracle: Ctr, pulled: Pulled, chains: list[str]) -> None:
    found = {line.split("\t")[0]: line.split("\t")[-1] for line in oracle("content", "ls").splitlines()[1:]}
    manifest = json.loads(ours.content.read(pulled.target.digest))
    for digest in (pulled.target.digest, *(blob["digest"] for blob in (manifest["config"], *manifest["layers"]))):
        theirs = {} if found[digest] == "-" else dict(label.split("=", 1) for label in found[digest].split(","))
        mine = dict(ours.content.info(digest).labels)
        assert own(mine, ours.name) == own(theirs, ours.name), digest


def own(labels: dict[str, str], snapshotter: str) -> dict[str, str]:
    """Without those of the other snapshotter, whose pull has labelled the same blobs of the oracle."""
    prefix = "containerd.io/gc.ref.snapshot."
    return {key: value for key, value in labels.items() if key in (prefix + snapshotter,) or not key.startswith(prefix)}


@pytest.mark.clause("containerd.snapshots.usage")
def test_usage_is_measured_alike(ours: Ours, oracle: Ctr, pulled: Pulled, chains: list[str]) -> None:
    for chain in chains:
        line = oracle("snapshots", "--snapshotter", ours.name, "usage", "-b", chain).splitlines()[1].split()
        assert [int(line[1]), int(line[2])] == pytest.approx(
            [ours.snapshots.usage(chain).size, ours.snapshots.usage(chain).inodes], rel=0.02
        )


@pytest.fixture(scope="module")
def changed(ours: Ours, pulled: Pulled) -> Iterator[Changed]:
    """A container's changes: the tree afterwards, and our layer of them with its diff id."""
    mounts = ours.snapshots.prepare("container", pulled.chain_id)
    with temporarily(mounts) as place:
        change(Path(place))
    ours.snapshots.view("below", pulled.chain_id)
    layer = Diff(ours.snapshots.mounts("below"), mounts)
    data = b"".join(layer)
    assert b"".join(Diff(ours.snapshots.mounts("below"), mounts)) == data  # every time the same
    yield read(mounts), data, layer.diff_id
    ours.snapshots.remove("container")
    ours.snapshots.remove("below")


def change(root: Path) -> None:
    """What a container might do: add, change, replace, link, move and delete."""
    script = """
        mkdir -p new/folder; echo text > new/folder/file; ln new/folder/file new/hard; ln -s file new/folder/link
        echo more >> etc/passwd; chmod 4711 bin/true; chown 12:34 usr/bin/env
        rm -r usr/share/perl5; mkdir usr/share/perl5; echo x > usr/share/perl5/x
        rm etc/shadow; rm -r var/lib/dpkg; mv usr/share/zoneinfo usr/share/moved 2>/dev/null || true
        rm -r etc/apt; echo file > etc/apt; rm etc/issue; mkdir etc/issue; mknod new/null c 1 3; mkfifo new/pipe
        setfattr -n user.key -v value etc/group; setcap cap_net_raw=ep usr/bin/id 2>/dev/null || true
        ln usr/bin/perl new/perl; truncate -s 1M new/sparse; touch -d @1600000000.5 new/folder
    """
    subprocess.run(["sh", "-ec", script], cwd=root, check=True)


def whole_seconds(nodes: dict[str, tree.Node]) -> dict[str, tree.Node]:
    """A layer of a diff has times in whole seconds, so of what it has written only those are left."""
    return {name: tree.Node(**{**vars(node), "mtime": node.mtime // 10**9}) for name, node in nodes.items()}


def compare(before: dict[str, tree.Node], after: dict[str, tree.Node]) -> list[str]:
    """What differs, but for the times of folders, which a diff does not say."""
    return tree.differences(whole_seconds(before), whole_seconds(after), no_times=folders(before))


@pytest.mark.clause("image.layer.changeset")
def test_our_layer_is_applied_by_us(ours: Ours, pulled: Pulled, changed: Changed) -> None:
    applied = apply_layer(ours.snapshots.prepare("again", pulled.chain_id), io.BytesIO(changed[1]))
    after = read(ours.snapshots.mounts("again"))
    ours.snapshots.remove("again")
    assert applied.diff_id == changed[2]
    assert compare(changed[0], after) == []


def append(layout: Path, layer: bytes, diff_id: str, tag: str) -> None:
    """Add *layer* to the image of an OCI layout."""
    blobs = layout / "blobs/sha256"

    def load(descriptor: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((blobs / descriptor["digest"].partition(":")[2]).read_bytes())
        return result

    def store(data: bytes, like: dict[str, Any]) -> dict[str, Any]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {**like, "digest": f"sha256:{name}", "size": len(data)}

    index = json.loads((layout / "index.json").read_bytes())
    manifest = load(index["manifests"][0])
    config = load(manifest["config"])
    config["rootfs"]["diff_ids"].append(diff_id)
    manifest["config"] = store(json.dumps(config).encode(), manifest["config"])
    manifest["layers"].append(store(layer, {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}))
    top = store(json.dumps(manifest).encode(), index["manifests"][0])
    top["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))


@pytest.fixture(scope="module")
def extended(work: Path, ours: Ours, changed: Changed) -> Iterator[Path]:
    """The image with our layer on top, as an OCI layout."""
    layout = work / f"extended-{ours.name}"
    shutil.copytree(images.debian(), layout)
    append(layout, changed[1], changed[2], "extended")
    yield layout
    shutil.rmtree(layout)


@pytest.mark.clause("image.layer.changeset")
def test_our_layer_is_applied_by_containerd(
    ours: Ours, oracle: Ctr, extended: Path, image: str, changed: Changed
) -> None:
    ref = image.replace("3-layers", f"extended-{ours.name}")
    copy = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{extended}:extended", f"docker://{ref}"]
    subprocess.run(copy, check=True)
    oracle("images", "pull", "--plain-http", "--snapshotter", ours.name, ref)
    mine = ours.pull(ref)
    oracle("snapshots", "--snapshotter", ours.name, "prepare", "extended", mine.chain_id)
    after = read(oracle.mounts(ours.name, "extended"))
    assert unexpected(ours.name, compare(changed[0], after)) == []


@pytest.mark.clause("image.layer.changeset")
def test_our_layer_is_applied_by_umoci(ours: Ours, extended: Path, tmp_path: Path, changed: Changed) -> None:
    subprocess.run(["umoci", "raw", "unpack", "--image", f"{extended}:extended", str(tmp_path / "rootfs")], check=True)
    after = tree.read(tmp_path / "rootfs")
    shutil.rmtree(tmp_path / "rootfs")
    left = [line for line in compare(changed[0], after) if not line.startswith("special/before 1970: mtime")]
    assert left == []  # umoci lets a file be older than 1970


@pytest.mark.clause("image.layer.attributes", "image.layer.whiteout")
def test_a_layer_of_containerd_is_applied_by_us(ours: Ours, oracle: Ctr, pulled: Pulled, chains: list[str]) -> None:
    oracle("snapshots", "--snapshotter", ours.name, "prepare", "theirs", chains[-1])
    with temporarily(oracle.mounts(ours.name, "theirs")) as place:
        change(Path(place))
    before = read(oracle.mounts(ours.name, "theirs"))
    command = ["ctr", "--address", str(oracle.address), "snapshots", "--snapshotter", ours.name, "diff", "theirs"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    apply_layer(ours.snapshots.prepare("from theirs", pulled.chain_id), io.BytesIO(data))
    after = read(ours.snapshots.mounts("from theirs"))
    ours.snapshots.remove("from theirs")
    assert [line for line in compare(before, after) if "xattrs" not in line] == []  # it writes capabilities only
