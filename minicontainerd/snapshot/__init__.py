"""The room of filesystems: a stack of layers becomes a directory that a container can write to.

::

    layer (tar) ── apply ──▶ active snapshot ── commit ──▶ committed snapshot ◀── parent ── active ── diff ──▶ layer

Read in this order:

=========== ========================================================================================
snapshotter the interface; its docstring is the manual, with a worked example
records     what a snapshotter remembers: names, parents, kinds, labels, in a database of its own
overlayfs   snapshots that share: a stack of directories, put together by the kernel at mount time
native      snapshots that copy: one full directory each, for any file system there is
copying     one file or one tree, copied with everything that belongs to it
tar         the archive format of layers, read and written as a stream
compression gzip and zstd around it, in a thread of their own
apply       a layer put into a snapshot; ``target.py`` is where, and keeps it from writing elsewhere
diff        the difference of two snapshots written as a layer
=========== ========================================================================================

Specification: image-spec v1.1.1 layer.md. Upstream: containerd@301026e core/snapshots, plugins/snapshots, pkg/archive.
"""
