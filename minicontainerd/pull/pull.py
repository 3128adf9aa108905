"""Pull: from a name to an image in the store, and if wanted, to snapshots that a container can start from.

::

    resolve ─▶ index ─▶ manifest for this platform ─▶ config ┐
                                                   ─▶ layers ┴▶ unpack, each layer as soon as it is here
                                                     (several at once)

The order of writes keeps the garbage collector away from what is half there: every document gets the labels that
refer to its children as soon as it is in the store, and the image record, which holds on to it all, comes last. Until
then a lease must do so; taking it is for the caller, who also gives us the store.

Source: containerd@301026e client/pull.go, core/images/handlers.go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass

from minicontainerd.errors import InvalidArgument, NotFound
from minicontainerd.linux.tell import step
from minicontainerd.oci import image
from minicontainerd.oci import platform as platforms
from minicontainerd.oci.image import Descriptor, Index, Manifest
from minicontainerd.oci.platform import Platform
from minicontainerd.pull.fetch import fetch
from minicontainerd.pull.interfaces import Applier, Content, Progress, Snapshots, quiet
from minicontainerd.pull.registry import Options, Registry
from minicontainerd.pull.unpack import unpack

Save = Callable[[str, Descriptor], object]
_MAX_DEPTH = 4  # of an index within an index


@dataclass(frozen=True)
class Unpacking:
    """Where to unpack to: *name* is the snapshotter's; without *applier*, layers are applied in this process."""

    snapshots: Snapshots
    name: str
    applier: Applier | None = None


@dataclass(frozen=True)
class Pulled:
    """What there is now: the image *name* means *target*; *chain_id* is of the snapshot, if it was unpacked."""

    name: str
    target: Descriptor
    manifests: tuple[Descriptor, ...]
    chain_id: str = ""


def pull(
    ref: str,
    content: Content,
    save: Save,
    *,
    options: Options | None = None,
    wanted: Sequence[Platform] | None = None,
    unpacking: Unpacking | None = None,
    progress: Progress = quiet,
    parallel: int = 3,
) -> Pulled:
    """Pull the image *ref* into *content* and *save* it under that name.

    *wanted* lists platforms, each of which gets the manifest that suits it best; None is this host, and an empty list
    all that there are. Only the first is unpacked. *parallel* is the number of blobs that are fetched at once.

    Raises:
        NotFound: there is no such image, or none for the platform.
        Everything that resolving, fetching and unpacking raise.
    """
    wanted = [platforms.host()] if wanted is None else wanted
    with Registry(ref, options) as registry, ThreadPoolExecutor(parallel, "pull") as pool:
        job = _Pull(content, registry, pool, progress)
        progress(ref, "resolving", 0, 0)
        with step(f"resolve {ref}", spec="distribution-spec spec.md#pulling-manifests"):
            target = registry.resolve()
        progress(ref, "resolved", 0, 0)
        try:
            manifests = job.find(target, wanted, 0)
            chain = ""
            for number, manifest in enumerate(manifests):
                chain = job.get(manifest, unpacking if number == 0 else None) or chain
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        save(ref, target)
    return Pulled(ref, target, tuple(manifests), chain)


class _Pull:
    def __init__(self, content: Content, registry: Registry, pool: ThreadPoolExecutor, progress: Progress) -> None:
        self._content = content
        self._registry = registry
        self._pool = pool
        self._progress = progress

    def _document(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > image.MAX_DOCUMENT:
            raise InvalidArgument(f"{descriptor.digest}: {descriptor.size} bytes, the limit is {image.MAX_DOCUMENT}")
        fetch(self._content, self._registry, descriptor, self._progress)
        return self._content.read(descriptor.digest)

    def find(self, target: Descriptor, wanted: Sequence[Platform], depth: int) -> list[Descriptor]:
        """The manifests below *target* for each platform of *wanted*, without doubles."""
        if target.media_type in image.MANIFESTS:
            return [target]
        if target.media_type not in image.INDEXES or depth > _MAX_DEPTH:
            raise InvalidArgument(f"{target.digest}: cannot pull a document of media type {target.media_type!r}")
        index = image.decode(self._document(target), Index, target.digest)
        self._content.update_labels(target.digest, image.children_labels(index.manifests))
        if not wanted:
            chosen = index.manifests
        else:
            chosen = []
            for platform in wanted:
                best = platforms.best(platform, index.manifests)[:1]
                if not best:
                    raise NotFound(f"{self._registry.ref}: no match for platform {platform} in manifest")
                chosen += [one for one in best if one not in chosen]
        found: list[Descriptor] = []
        for one in chosen:
            found += [manifest for manifest in self.find(one, wanted, depth + 1) if manifest not in found]
        return found

    def get(self, target: Descriptor, unpacking: Unpacking | None) -> str:
        """Fetch one image, and unpack it while its upper layers are still coming."""
        manifest = image.decode(self._document(target), Manifest, target.digest)
        self._content.update_labels(target.digest, image.children_labels(image.children(manifest)))
        layers = manifest.layers
        for layer in layers:
            self._progress(f"layer-{layer.digest}", "waiting", 0, layer.size)
        downloads = {blob.digest: self._submit(blob) for blob in (manifest.config, *layers)}
        downloads[manifest.config.digest].result()
        chain = ""
        if unpacking and manifest.config.media_type in image.CONFIGS:
            chain = unpack(
                self._content,
                unpacking.snapshots,
                unpacking.name,
                manifest.config,
                layers,
                applier=unpacking.applier,
                ready=lambda number: downloads[layers[number].digest].result(),
                progress=self._progress,
            )
        for download in downloads.values():
            download.result()
        return chain

    def _submit(self, blob: Descriptor) -> Future[None]:
        context = copy_context()  # so that whoever listens to this pull hears its threads too
        return self._pool.submit(context.run, fetch, self._content, self._registry, blob, self._progress)
