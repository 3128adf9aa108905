"""Blobs from a registry into the store: verified while they stream, resumed where a connection broke.

The store keeps what has arrived of a blob under a name, ``layer-sha256:…``, across connections, pulls and crashes. So
fetching is a loop: ask the store how much it has, ask the registry for the rest, until it is all there. Then commit
checks length and digest. What is wrong is thrown away, or the next pull would go on from it.
"""

from __future__ import annotations

import random
import re
import time

import httpx

from minicontainerd.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from minicontainerd.oci import digest as digests
from minicontainerd.oci import image
from minicontainerd.oci.image import Descriptor
from minicontainerd.pull.auth import RequestFailed
from minicontainerd.pull.interfaces import BlobWriter, Content, Progress, quiet
from minicontainerd.pull.registry import ATTEMPTS, Registry, explain

_LOCK_WAIT = 0.05  # seconds before asking again for a name that another pull holds; grows to 2
SOURCE = "containerd.io/distribution.source."


def ref_key(descriptor: Descriptor) -> str:
    """The name of the ingest for *descriptor*; the same as containerd's, so that each can go on with the other's.

    >>> ref_key(Descriptor(image.LAYER_GZIP, "sha256:0"))
    'layer-sha256:0'
    """
    kinds = ((image.MANIFESTS, "manifest"), (image.INDEXES, "index"), (image.CONFIGS, "config"))
    for types, kind in kinds:
        if descriptor.media_type in types:
            return f"{kind}-{descriptor.digest}"
    return f"{'layer' if image.is_layer(descriptor.media_type) else 'unknown'}-{descriptor.digest}"


def fetch(content: Content, registry: Registry, descriptor: Descriptor, progress: Progress = quiet) -> None:
    """See to it that *content* has the blob *descriptor*.

    Raises:
        FailedPrecondition: what came has another length or digest. It is thrown away.
        NotFound: no server has it.
        RequestFailed: the connection broke too often.
    """
    digests.validate(descriptor.digest)
    ref = ref_key(descriptor)
    host = re.sub(r":\d*$", "", registry.reference.hostname)
    source = {SOURCE + host: registry.reference.repository}
    try:
        writer = _open(content, ref, descriptor, progress)
    except AlreadyExists:
        _add_source(content, descriptor.digest, source)
        progress(ref, "exists", descriptor.size, descriptor.size)
        return
    try:
        _fill(writer, registry, descriptor, ref, progress)
        try:
            writer.commit(descriptor.size, descriptor.digest, source)
        except AlreadyExists:
            pass  # another pull was faster
        except FailedPrecondition as error:
            writer.truncate(0)
            raise FailedPrecondition(f'failed commit on ref "{ref}": {error}') from error
    finally:
        writer.close()
    progress(ref, "done", descriptor.size, descriptor.size)


def _open(content: Content, ref: str, descriptor: Descriptor, progress: Progress) -> BlobWriter:
    """Open the ingest; while another pull of the same blob holds it, wait, and perhaps find the blob there."""
    wait = _LOCK_WAIT
    while True:
        try:
            return content.writer(ref, expected=descriptor.digest, total=descriptor.size)
        except Unavailable:
            progress(ref, "waiting", 0, descriptor.size)
            time.sleep(wait * random.uniform(0.5, 1))
            wait = min(wait * 2, 2.0)


def _fill(writer: BlobWriter, registry: Registry, descriptor: Descriptor, ref: str, progress: Progress) -> None:
    failures = 0
    if writer.offset > descriptor.size:
        writer.truncate(0)
    while (start := writer.offset) < descriptor.size:
        problem: httpx.HTTPError | None = None
        try:
            with registry.open(descriptor, start) as chunks:
                for chunk in chunks:
                    writer.write(chunk)
                    progress(ref, "downloading", writer.offset, descriptor.size)
                    if writer.offset > descriptor.size:
                        return  # more than was promised: commit will say so
        except httpx.HTTPError as error:
            problem = error
        if writer.offset == descriptor.size:
            return
        failures = failures + 1 if writer.offset == start else 1
        if failures >= ATTEMPTS:
            words = explain(problem) if problem else "unexpected EOF"
            raise RequestFailed(f'failed to copy "{ref}" at {writer.offset} of {descriptor.size} bytes: {words}')
        time.sleep(min(0.05 * 2**failures, 2.0))


def _add_source(content: Content, digest: str, source: dict[str, str]) -> None:
    """Note that the blob can be had from this repository too: a push uses that to mount instead of upload."""
    try:
        known = content.info(digest).labels
        (key, repository) = next(iter(source.items()))
        repositories = sorted({*filter(None, known.get(key, "").split(",")), repository})
        if known.get(key) != ",".join(repositories):
            content.update_labels(digest, {key: ",".join(repositories)})
    except NotFound:
        pass  # collected meanwhile: whoever needs it will say so
