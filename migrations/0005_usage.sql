-- How much room streams and projects take, and who takes images out of them.

-- A link carries what the figures are made of, so that they follow from the links alone. `leaving` marks links within the transaction
-- that takes them away; no other one ever sees it.
alter table repository_blobs add column project_id text;
alter table repository_blobs add column size bigint not null default 0;
alter table repository_blobs add column leaving bigint not null default 0;
alter table repository_images add column project_id text;
alter table repository_images add column size bigint not null default 0;    -- of the manifest itself
alter table repository_images add column leaving bigint not null default 0;
update repository_blobs set
    project_id = (select s.project_id from streams s where s.id = repository_blobs.stream_id),
    size = coalesce((select b.size from blobs b where b.digest = repository_blobs.digest), 0);
update repository_images set
    project_id = (select s.project_id from streams s where s.id = repository_images.stream_id),
    size = coalesce((select octet_length(i.manifest) from images i where i.digest = repository_images.digest), 0);

-- Who else has it, in the project and elsewhere: each a look at the index, however many have it.
drop index repository_blobs_digest;
create index repository_blobs_digest on repository_blobs (digest, project_id, stream_id);
create index repository_blobs_leaving on repository_blobs (digest) where leaving = 1;
drop index repository_images_digest;
create index repository_images_digest on repository_images (digest, project_id, stream_id);
create index repository_images_leaving on repository_images (digest) where leaving = 1;

alter table streams add column bytes bigint not null default 0;         -- of what it links, each blob and manifest once
alter table streams add column own_bytes bigint not null default 0;     -- of that, what no other stream links
alter table projects add column bytes bigint not null default 0;        -- of what its streams link, each once
alter table projects add column own_bytes bigint not null default 0;    -- of that, what no other project links
alter table projects add column quota_bytes bigint;                     -- null: it may hold as much as there is room for

update streams set
    bytes = coalesce((select sum(r.size) from repository_blobs r where r.stream_id = streams.id), 0)
        + coalesce((select sum(r.size) from repository_images r where r.stream_id = streams.id), 0),
    own_bytes = coalesce((select sum(r.size) from repository_blobs r where r.stream_id = streams.id and not exists
            (select 1 from repository_blobs o where o.digest = r.digest and o.stream_id <> r.stream_id)), 0)
        + coalesce((select sum(r.size) from repository_images r where r.stream_id = streams.id and not exists
            (select 1 from repository_images o where o.digest = r.digest and o.stream_id <> r.stream_id)), 0);
-- The first of a project's links of a blob stands for all of them.
update projects set
    bytes = coalesce((select sum(r.size) from repository_blobs r where r.project_id = projects.id and not exists
            (select 1 from repository_blobs o where o.digest = r.digest and o.project_id = r.project_id and o.stream_id < r.stream_id)), 0)
        + coalesce((select sum(r.size) from repository_images r where r.project_id = projects.id and not exists
            (select 1 from repository_images o where o.digest = r.digest and o.project_id = r.project_id and o.stream_id < r.stream_id)), 0),
    own_bytes = coalesce((select sum(r.size) from repository_blobs r where r.project_id = projects.id and not exists
            (select 1 from repository_blobs o where o.digest = r.digest
                and (o.project_id <> r.project_id or o.stream_id < r.stream_id))), 0)
        + coalesce((select sum(r.size) from repository_images r where r.project_id = projects.id and not exists
            (select 1 from repository_images o where o.digest = r.digest
                and (o.project_id <> r.project_id or o.stream_id < r.stream_id))), 0);

-- Pulls and pushes by day, in days since the epoch (UTC).
create table tag_traffic (
    tag_id text not null references tags (id) on delete cascade,
    day bigint not null,
    pulls bigint not null default 0,
    pushes bigint not null default 0,
    primary key (tag_id, day)
);
create index tag_traffic_day on tag_traffic (day);

-- The same of all of a stream's tags: a list of streams must not add up ten thousand tags.
create table stream_traffic (
    stream_id text not null references streams (id) on delete cascade,
    day bigint not null,
    pulls bigint not null default 0,
    pushes bigint not null default 0,
    primary key (stream_id, day)
);
create index stream_traffic_day on stream_traffic (day);
