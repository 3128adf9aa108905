-- The first schema. Conventions: times are nanoseconds since 1970, labels are a JSON object of strings,
-- every name lives in a namespace, and blobs of bytes are protobuf messages exactly as they came over the wire.

-- A namespace keeps the names of one user of the daemon apart from another's. A namespace that was never created
-- works too; a row is only needed to give it labels or to list it, and is made by the first object created in it.
CREATE TABLE namespaces (
    name   TEXT PRIMARY KEY,
    labels TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;

-- An image is a name for a descriptor. The content it points to need not be there.
CREATE TABLE images (
    namespace   TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    digest      TEXT    NOT NULL,  -- the descriptor: what it points to,
    size        INTEGER NOT NULL,  -- how many bytes that has,
    media_type  TEXT    NOT NULL,  -- what it is,
    annotations TEXT    NOT NULL,  -- and what else was said of it (a JSON object)
    labels      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;

-- A container is what is needed to start a task. Nothing here runs.
CREATE TABLE containers (
    namespace    TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    image        TEXT    NOT NULL,  -- the image's name, as a note; it need not exist
    runtime_name TEXT    NOT NULL,  -- such as io.containerd.runc.v2: which shim
    options      BLOB    NOT NULL,  -- google.protobuf.Any: the shim's options; empty for none
    spec         BLOB    NOT NULL,  -- google.protobuf.Any: the OCI runtime spec
    snapshotter  TEXT    NOT NULL,
    snapshot_key TEXT    NOT NULL,  -- the root filesystem; keeps that snapshot from the collector
    sandbox      TEXT    NOT NULL,  -- the sandbox it belongs to; empty for none
    extensions   BLOB    NOT NULL,  -- a containerd.services.containers.v1.Container with only its extensions
    labels       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
) STRICT, WITHOUT ROWID;

-- That a namespace has a blob. The bytes are in blobs/; two namespaces with the same digest share them.
CREATE TABLE content (
    namespace  TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    labels     TEXT    NOT NULL,  -- containerd.io/gc.ref.* in here make the edges of the collector's graph
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX content_by_digest ON content (digest);

-- That a namespace has an ingest. The bytes are in ingest/, under the name "<namespace>/<ref>".
CREATE TABLE ingests (
    namespace  TEXT    NOT NULL,
    ref        TEXT    NOT NULL,
    expected   TEXT    NOT NULL,  -- the digest its writer announced; empty for none
    total      INTEGER NOT NULL,  -- the size its writer announced; 0 for none
    started_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,  -- when the collector may drop it; 0 where a lease decides
    PRIMARY KEY (namespace, ref)
) STRICT, WITHOUT ROWID;

-- That a namespace has a snapshot. The snapshotter itself knows it as backend_key, which is unique over namespaces.
CREATE TABLE snapshots (
    namespace   TEXT    NOT NULL,
    snapshotter TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    backend_key TEXT    NOT NULL,
    parent      TEXT    NOT NULL,  -- a key of the same namespace and snapshotter; empty for none
    labels      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (namespace, snapshotter, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshots_by_parent ON snapshots (namespace, snapshotter, parent);
CREATE UNIQUE INDEX snapshots_by_backend_key ON snapshots (snapshotter, backend_key);

-- backend_key is made of this number, which is never used twice.
CREATE TABLE sequence (last INTEGER NOT NULL) STRICT;
INSERT INTO sequence VALUES (0);

-- A lease keeps things from the collector while somebody is still at work with them.
CREATE TABLE leases (
    namespace  TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    labels     TEXT    NOT NULL,  -- containerd.io/gc.expire: until when; containerd.io/gc.flat: without what it refers to
    created_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE lease_resources (
    namespace TEXT NOT NULL,
    lease     TEXT NOT NULL,
    type      TEXT NOT NULL,  -- content, ingests, or snapshots/<snapshotter>
    id        TEXT NOT NULL,  -- a digest, a ref, or a key
    PRIMARY KEY (namespace, lease, type, id),
    FOREIGN KEY (namespace, lease) REFERENCES leases (namespace, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
