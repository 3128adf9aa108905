"""What is kept: blobs by their digest, and one database that says what they are for.

Two halves, and an order between them that is the whole argument for crash safety:

* ``blobs``: files. A blob grows in an *ingest*, under a name of the client's choosing, and is published by a
  rename, whole and synced. From then on it never changes.
* ``database`` and the files named after its tables: one SQLite file in WAL mode; ``schema/`` explains every column.

A blob is synced before its row is written, a row before its event is sent. So a crash leaves at worst a blob or
an ingest that no row speaks of, and the garbage collector (``gc``) removes those. What was acknowledged has its row.

Names belong to a *namespace*; bytes do not. Two namespaces that hold the same blob share one file.

Read in this order: ``blobs``, ``schema/0001_first.sql``, ``database``, ``images`` (the shortest table), ``content``
(where both halves meet), ``leases``, ``gc``.

Source: containerd@301026e core/metadata, plugins/content/local; docs/content-flow.md, docs/garbage-collection.md.
"""
