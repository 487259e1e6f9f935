-- What nothing needs any more. It is marked first and goes once it was marked for the grace and is still not needed; without its row
-- here nothing goes.
create table garbage (
    kind text not null,                 -- manifest (that a repository serves), image, link (of a blob to a repository), blob
    stream_id text not null default '', -- the repository of a manifest or a link
    digest text not null,
    size bigint not null,
    part bigint not null default 0,     -- a manifest that was there for the sake of another one: it goes with it
    marked_at bigint not null,
    primary key (kind, stream_id, digest)
);
create index garbage_marked on garbage (kind, marked_at);

-- Blobs whose bytes are being deleted, or were a short while ago: what arrives meanwhile under such a digest has to be looked at twice.
create table blob_deletions (
    digest text primary key,
    id text not null,                   -- of this deletion
    size bigint not null,
    until bigint,                       -- the deleter's lease; null: done
    at bigint not null,
    error text                          -- why it failed
);

-- What somebody wants kept although nothing needs it.
create table kept_digests (
    digest text primary key,
    until bigint not null
);

-- What a stream keeps of its tags' histories. Without a row: everything.
create table retention_rules (
    stream_id text primary key references streams (id) on delete cascade,
    keep_versions bigint,               -- the newest so many rows of each tag, and
    keep_days bigint,                   -- all rows of so many days; both null: all
    untagged_days bigint,               -- manifests that never had a tag, so many days; null: for good
    set_by text not null,
    set_at bigint not null
);

-- Work that one server does for all, now and then.
create table duties (
    name text primary key,
    lease_owner text,
    lease_until bigint,
    finished_at bigint,
    report text not null default ''     -- JSON: what the last run did
);

-- Whether an image that somebody may go back to is whole.
create table image_proofs (
    digest text primary key,
    checked_at bigint not null,
    problem text                        -- null: whole
);
create table blob_proofs (
    digest text primary key,
    read_at bigint not null             -- when all its bytes were last compared with its digest
);

-- Asked before an image goes.
create index rollouts_digest on rollouts (digest);
