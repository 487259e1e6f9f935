-- What packages layers bring, each read once, whichever images have it. A row without `read_at` waits to be read.
create table layer_readings (
    digest text primary key,            -- of the layer's blob
    wanted_at bigint not null,
    next_at bigint not null default 0,  -- when to try next, after it could not be read
    attempts bigint not null default 0, -- how often somebody began to read it and was not heard of again
    lease_owner text,
    lease_until bigint,
    read_at bigint,
    reader bigint not null default 0,   -- the version of what read it: what an older one read is read again
    problem text,                       -- why it was not read; while it waits, why not the last time
    contents text,                      -- JSON: lists of packages, and what it takes away of lower layers
    size bigint not null default 0      -- bytes of `contents`
);
create index layer_readings_waiting on layer_readings (next_at, digest) where read_at is null;

-- Layers of the images that are there. Other layers are no file systems: charts, signatures, encrypted ones.
insert into layer_readings (digest, wanted_at)
select distinct l.layer_digest, cast(0 as bigint) from image_layers l
where l.media_type in (
    'application/vnd.oci.image.layer.v1.tar', 'application/vnd.oci.image.layer.v1.tar+gzip', 'application/vnd.oci.image.layer.v1.tar+zstd',
    'application/vnd.oci.image.layer.nondistributable.v1.tar', 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd', 'application/vnd.docker.image.rootfs.diff.tar',
    'application/vnd.docker.image.rootfs.diff.tar.gzip', 'application/vnd.docker.image.rootfs.diff.tar.zstd',
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip');
