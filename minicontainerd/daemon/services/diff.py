"""Diff: from a layer to files, and from files to a layer."""

from __future__ import annotations

from minicontainerd.store.content import Content


class DiffService:
    """``containerd.services.diff.v1.Diff``."""

    def __init__(self, content: Content) -> None:
        self._content = content
