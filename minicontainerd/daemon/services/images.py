"""Images: names for descriptors."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from minicontainerd.api.events.image_pb2 import ImageCreate, ImageDelete, ImageUpdate
from minicontainerd.api.rpc import Call
from minicontainerd.api.services.images.v1.images_pb2 import (
    CreateImageRequest,
    CreateImageResponse,
    DeleteImageRequest,
    GetImageRequest,
    GetImageResponse,
    ListImagesRequest,
    ListImagesResponse,
    UpdateImageRequest,
    UpdateImageResponse,
)
from minicontainerd.daemon import blocking
from minicontainerd.daemon.collector import Collector
from minicontainerd.daemon.events import Exchange
from minicontainerd.store.images import Images


class ImagesService:
    """``containerd.services.images.v1.Images``."""

    def __init__(self, images: Images, exchange: Exchange, collector: Collector) -> None:
        self._images = images
        self._exchange = exchange
        self._collector = collector

    async def get(self, request: GetImageRequest, call: Call) -> GetImageResponse:
        """One image."""
        return GetImageResponse(image=self._images.get(call.namespace, request.name))

    async def list(self, request: ListImagesRequest, call: Call) -> ListImagesResponse:
        """The images that match any filter."""
        return ListImagesResponse(images=await blocking.call(self._images.list, call.namespace, list(request.filters)))

    async def create(self, request: CreateImageRequest, call: Call) -> CreateImageResponse:
        """Write a new name."""
        made = await blocking.call(self._images.create, call.namespace, request.image)
        event = ImageCreate(name=made.name, labels=dict(made.labels))
        self._exchange.publish(call.namespace, "/images/create", event)
        return CreateImageResponse(image=made)

    async def update(self, request: UpdateImageRequest, call: Call) -> UpdateImageResponse:
        """Change the fields that the mask names."""
        paths = list(request.update_mask.paths)
        new = await blocking.call(self._images.update, call.namespace, request.image, paths)
        event = ImageUpdate(name=new.name, labels=dict(new.labels))
        self._exchange.publish(call.namespace, "/images/update", event)
        return UpdateImageResponse(image=new)

    async def delete(self, request: DeleteImageRequest, call: Call) -> Empty:
        """Remove a name; with ``sync``, collect garbage before answering."""
        target = request.target if request.HasField("target") else None
        await blocking.call(self._images.delete, call.namespace, request.name, target)
        self._exchange.publish(call.namespace, "/images/delete", ImageDelete(name=request.name))
        await self._collector.after_removal(wait=request.sync)
        return Empty()
