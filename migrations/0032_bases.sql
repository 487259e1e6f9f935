-- What images are built on, as their layers show: of each image the chains of its lowest layers, by which the images below it are found,
-- and those above it.
create table image_chains (
    digest text not null references images (digest) on delete cascade,
    above bigint not null,              -- how many layers lie above these; 0: they are all of the image's
    chain bigint not null,              -- 60 bits of a hash of their ChainID (OCI image-spec)
    primary key (digest, above)
);
create index image_chains_whole on image_chains (chain, digest) where above = 0;
create index image_chains_built_on on image_chains (chain, digest) where above > 0;

-- Chains that an image came to, or left, or is called otherwise by: what is built on it is made searchable by that, from there on.
create table search_due (
    chain bigint primary key,
    digest text not null default '',
    stream_id text not null default ''
);

-- Images of before have their chains written, and then their bases looked for.
insert into search_pending (kind, id) select 'chain', digest from images where chain_id is not null on conflict do nothing;
