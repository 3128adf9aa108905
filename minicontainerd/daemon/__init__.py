"""The daemon: the rooms below, put together behind containerd's gRPC API.

It decides nothing that a lower room could decide. A service translates: a message in, a call below, a message out,
an event to whoever listens. What blocks (files, SQLite, mounts) runs in a worker thread, through ``blocking``; the
event loop itself only waits. The daemon never forks: processes are started by shims, which outlive it, and shims are
forked by a zygote, or started as programs.

Read in this order: ``main`` (flags), ``config``, ``plugins`` (what the daemon is made of, as a graph), ``builtin``
(the list), ``server`` (sockets), then ``services/`` in the order of a pull and a run: leases, content, images,
snapshots, diff, containers, tasks. Behind tasks: ``bundle``, ``launcher``,
``zygote``, ``shim``, ``task_manager``. ``events`` connects all. ``check`` is a
command of its own: it reads back what the store promises.
"""
