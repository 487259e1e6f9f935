-- What a search finds, and the words it finds it by. Everything is written in the transaction that makes what is found, and goes with it.

create table search_entries (
    id bigint primary key,
    project_id text not null references projects (id) on delete cascade,
    kind text not null,                 -- stream, tag, image, build, app
    stream_id text references streams (id) on delete cascade,       -- of a stream or an image
    tag_id text references tags (id) on delete cascade,
    config_id text references build_configs (id) on delete cascade,
    app_id text references apps (id) on delete cascade,
    digest text,                        -- of an image: it is found in each repository that serves it
    foreign key (stream_id, digest) references repository_images (stream_id, digest) on delete cascade
);
create index search_entries_project on search_entries (project_id);
create index search_entries_stream on search_entries (stream_id, digest) where stream_id is not null;
create index search_entries_tag on search_entries (tag_id) where tag_id is not null;
create index search_entries_config on search_entries (config_id) where config_id is not null;
create index search_entries_app on search_entries (app_id) where app_id is not null;

-- A search is for the beginning of a term. The project stands first, so that it reads nothing of projects one may not see.
create table search_terms (
    project_id text not null,
    kind text not null,                 -- the entry's; title for <stream>:<tag>, which is looked for only by those who write a colon
    term text not null,                 -- in lower case; compared byte by byte, also where PostgreSQL's language would have it otherwise
    field text not null,                -- name, description, source, label, env, port, base
    entry_id bigint not null references search_entries (id) on delete cascade,
    primary key (project_id, kind, term, field, entry_id)
);
create index search_terms_entry on search_terms (entry_id, term);

-- What was there before this table, and has still to be read for it.
create table search_pending (
    kind text not null,
    id text not null,
    digest text not null default '',
    primary key (kind, id, digest)
);
insert into search_pending (kind, id) select 'stream', id from streams;
insert into search_pending (kind, id) select 'tag', id from tags;
insert into search_pending (kind, id) select 'build', id from build_configs;
insert into search_pending (kind, id) select 'app', id from apps;
insert into search_pending (kind, id, digest) select 'image', stream_id, digest from repository_images;
insert into search_pending (kind, id) select 'chain', digest from images;

-- Names the uncompressed layers of an image in their order (OCI image-spec, "Layer ChainID"): whose are the first of another's is its base.
alter table images add column chain_id text;
create index images_chain on images (chain_id) where chain_id is not null;
