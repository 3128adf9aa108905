-- A commit of a snapshot changes two databases, the snapshotter's and this one, and no transaction spans both. So what
-- is about to be is written down first. After a crash the row says how to go on: the snapshotter has backend_key, then
-- the commit is finished; it has not, then nothing has happened.
CREATE TABLE snapshot_commits (
    namespace   TEXT NOT NULL,
    snapshotter TEXT NOT NULL,
    key         TEXT NOT NULL,  -- the active snapshot
    name        TEXT NOT NULL,  -- what it becomes
    backend_key TEXT NOT NULL,  -- and what the snapshotter then knows it as
    lease       TEXT NOT NULL,  -- under which it is kept; empty for none
    labels      TEXT NOT NULL,
    PRIMARY KEY (namespace, snapshotter, key)
) STRICT, WITHOUT ROWID;
