-- A tag that follows an image in another registry may let what is new there grow old before it takes it over.
alter table tags add column cool_down_ms bigint;            -- null or 0: what is new is taken over at once

-- What the tag took over last from its source, whether or not a hold kept it from moving; null: nothing since the source was set.
alter table tag_imports add column passed_digest text;
update tag_imports set passed_digest = upstream_digest;

-- What was found and has to wait, each since it was seen here first. The newest is what the source meant last; older ones were replaced
-- there while they waited.
create table cooling_digests (
    tag_id text not null references tag_imports (tag_id) on delete cascade,
    digest text not null,
    first_seen_at bigint not null,
    adopt_by text,                      -- who said that it need not wait
    primary key (tag_id, digest)
);
