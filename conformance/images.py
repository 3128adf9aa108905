"""Images for the suite, built once and kept in a cache folder.

:func:`debian` is a real root filesystem of some 400 MB in three layers, and has in it everything that a layer can
have: device nodes, fifos, hard links, extended attributes, file capabilities, setuid programs, whiteouts of files and
folders, opaque folders, names that are long or no UTF-8. It is an OCI layout, which skopeo copies to any registry.

The archives are written by the standard library's tarfile and gzip, not by the code under test. Times are fixed
(SOURCE_DATE_EPOCH), and so the same packages give the same digests.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EPOCH = 1_700_000_000
PACKAGES = "build-essential,iputils-ping,procps,python3"
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep, revision 2


def cache() -> Path:
    """Where images are kept between runs."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    (root / "minicontainerd").mkdir(parents=True, exist_ok=True)
    return root / "minicontainerd"


def debian() -> Path:
    """The OCI layout of the big image, tag ``debian``; building it takes minutes and a Debian mirror."""
    layout = cache() / "debian-3-layers"
    if not layout.exists():
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            work = Path(scratch)
            packages = work / "base.tar"
            command = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "--quiet", "bookworm", str(packages)]
            subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)})
            write_layout(work / "layout", [packages.read_bytes(), special_layer(), removing_layer()], "debian")
            (work / "layout").rename(layout)
    return layout


def special_layer() -> bytes:
    """What is rare in packages."""
    with writing() as (archive, buffer):
        add(archive, "special", tarfile.DIRTYPE, 0o1777, pax={"SCHILY.xattr.user.folder": "of special things"})
        add(archive, "special/null", tarfile.CHRTYPE, 0o666, device=(1, 3))
        add(archive, "special/disk", tarfile.BLKTYPE, 0o660, device=(259, 70000), owner=(0, 6))
        add(archive, "special/pipe", tarfile.FIFOTYPE, 0o620)
        add(archive, "special/file", data=b"content" * 1000, owner=(70000, 80000), mode=0o640)
        add(archive, "special/hard link", tarfile.LNKTYPE, 0o640, link="special/file", owner=(70000, 80000))
        add(archive, "special/symlink", tarfile.SYMTYPE, 0o777, link="../no/such/file")
        add(archive, "special/setuid", data=b"#!/bin/true", mode=0o6755)
        add(archive, "special/capable", data=b"x", mode=0o755, xattr={"security.capability": CAPABILITY})
        add(archive, "special/attributes", data=b"x", xattr={"user.one": b"1", "user.bytes": bytes(range(256))})
        add(archive, "special/nanoseconds", data=b"x", pax={"mtime": f"{EPOCH}.123456789"})
        add(archive, "special/before 1970", data=b"x", pax={"mtime": "-5"})
        add(archive, "special/no utf-8 \udcff\udcfe", data=b"x")
        add(archive, "special/" + "/".join(["a long path to"] * 20), data=b"x")
        add(archive, "special/empty", data=b"")
        add(archive, "special/folder", tarfile.DIRTYPE, 0o700)
        add(archive, "special/folder/" + "n" * 255, data=b"x")
        add(archive, "special/a", tarfile.DIRTYPE)
        add(archive, "special/a/b", tarfile.DIRTYPE)
        add(archive, "special/a/b/c", data=b"c")
    return buffer.getvalue()


def removing_layer() -> bytes:
    """What takes away, replaces and changes."""
    with writing() as (archive, buffer):
        add(archive, "usr", tarfile.DIRTYPE, 0o755)
        add(archive, "usr/share", tarfile.DIRTYPE, 0o755)
        add(archive, "usr/share/.wh.doc", data=b"")
        add(archive, "usr/share/perl5", tarfile.DIRTYPE, 0o750)  # only its mode changes
        add(archive, "usr/share/info", tarfile.DIRTYPE, 0o755)
        add(archive, "usr/share/info/.wh..wh..opq", data=b"")
        add(archive, "usr/share/info/new", data=b"in an opaque folder")
        add(archive, "etc", tarfile.DIRTYPE, 0o755)
        add(archive, "etc/.wh.debian_version", data=b"")
        add(archive, "etc/skel", data=b"a file in place of a folder")
        add(archive, "etc/hostname", tarfile.DIRTYPE, 0o700)  # and the other way round
        add(archive, "etc/hostname/file", data=b"x")
        add(archive, "special", tarfile.DIRTYPE, 0o755)  # this time without its attribute
        add(archive, "special/.wh.a", data=b"")
        add(archive, "special/file", data=b"new content", mode=0o600)
        add(archive, "special/null", tarfile.SYMTYPE, 0o777, link="/dev/null")
        add(archive, "special/folder", tarfile.DIRTYPE, 0o711, owner=(3, 4))
    return buffer.getvalue()


@contextmanager
def writing() -> Iterator[tuple[tarfile.TarFile, io.BytesIO]]:
    """A new archive, and where it will be afterwards."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        yield archive, buffer


def add(
    archive: tarfile.TarFile,
    name: str,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    *,
    data: bytes = b"",
    link: str = "",
    owner: tuple[int, int] = (0, 0),
    device: tuple[int, int] = (0, 0),
    pax: dict[str, str] | None = None,
    xattr: dict[str, bytes] | None = None,
) -> None:
    """Add an entry. tarfile wants PAX values as text; bytes that are none go in as surrogate escapes."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size, info.mtime = kind, mode, link, len(data), EPOCH
    info.uid, info.gid = owner
    info.devmajor, info.devminor = device
    info.pax_headers = dict(pax or {})
    if xattr:  # before the header proper, written by hand: the values are bytes
        archive.fileobj.write(_pax_header(xattr))
        archive.offset = archive.fileobj.tell()
    archive.addfile(info, io.BytesIO(data))


def _pax_header(xattrs: dict[str, bytes]) -> bytes:
    body = b""
    for key, value in xattrs.items():
        record = b" SCHILY.xattr." + key.encode() + b"=" + value + b"\n"
        length = len(record) + len(str(len(record) + 3))
        body += str(length).encode() + record
    info = tarfile.TarInfo("PaxHeaders")
    info.type, info.size = tarfile.XHDTYPE, len(body)
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)


def write_layout(layout: Path, archives: list[bytes], tag: str) -> None:
    """Write an image of uncompressed layers *archives*, lowest first, as an OCI layout of one *tag*."""
    shutil.rmtree(layout, ignore_errors=True)
    (layout / "blobs/sha256").mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        name = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / name).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{name}", "size": len(data)}

    diff_ids = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in archives]
    layers = [blob(gzip.compress(data, 6, mtime=0), "layer.v1.tar+gzip") for data in archives]
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": layers,
    }
    top = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    top["annotations"] = {"org.opencontainers.image.ref.name": tag}
    top["platform"] = {"architecture": architecture, "os": "linux"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def busybox() -> Path:
    """The OCI layout of a small image, tag ``busybox``: Debian's busybox-static, its applets, two users."""
    layout = cache() / "busybox-1"
    if not layout.exists():
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            write_layout(Path(scratch) / "layout", [_busybox_layer()], "busybox")
            (Path(scratch) / "layout").rename(layout)
    return layout


def _busybox_layer() -> bytes:
    applets = subprocess.run(["busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()
    with writing() as (archive, buffer):
        for folder in ("bin", "etc", "proc", "sys", "dev", "run", "root", "home", "home/app"):
            add(archive, folder, tarfile.DIRTYPE, 0o755)
        add(archive, "tmp", tarfile.DIRTYPE, 0o1777)
        add(archive, "bin/busybox", data=Path("/bin/busybox").read_bytes(), mode=0o755)
        for applet in applets:
            if applet != "busybox":
                add(archive, f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox")
        add(archive, "etc/passwd", data=b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n")
        add(archive, "etc/group", data=b"root:x:0:\napp:x:1001:\nextra:x:1002:app\n")
    return buffer.getvalue()


def tiny(layout: Path) -> Path:
    """Write the OCI layout of two layers of a few entries, tag ``tiny``, to *layout*: for tests that pull it often."""
    with writing() as (archive, lower):
        for folder in ("bin", "proc", "sys", "dev", "old"):
            add(archive, folder, tarfile.DIRTYPE, 0o755)
        add(archive, "bin/busybox", data=Path("/bin/busybox").read_bytes(), mode=0o755)
        for applet in ("sh", "sleep", "true"):
            add(archive, f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox")
        add(archive, "bin/end", data=b"#!/bin/sh\nsleep 0.1\nexit $1\n", mode=0o755)
    with writing() as (archive, upper):
        add(archive, ".wh.old", data=b"")
        add(archive, "new", data=b"in the upper layer")
    write_layout(layout, [lower.getvalue(), upper.getvalue()], "tiny")
    return layout
