"""The room of images in and out: from a name at a registry to blobs in the store and snapshots to run from.

::

    reference ── resolve ──▶ digest ── fetch ──▶ blobs in the store ── unpack ──▶ snapshots, named by chain id

Read in this order:

========== =================================================================================================
pull       the whole way of one image; what the daemon and ``minictr`` call
interfaces what is needed of a store and a snapshotter, by shape, so that both may be at the end of a socket
registry   requests, answers, and what to do about bad ones
hosts      which servers to ask: ``hosts.toml``
auth       credentials and tokens
fetch      a blob, verified and resumed
unpack     layers to snapshots
========== =================================================================================================

Public names: :func:`pull.pull`, :class:`pull.Unpacking`, :class:`registry.Options`, :class:`registry.Registry`.
Specification: distribution-spec v1.1.1. Upstream: containerd@301026e core/remotes/docker, core/unpack, client/pull.go.
"""
