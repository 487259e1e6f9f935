-- The request that a move was asked for in, as the log names it; and what tells the manifest when it is gone, as the registry's history of
-- a tag needs it.
alter table tag_events add column request_id text;
alter table tag_events add column media_type text;
alter table tag_events add column manifest_size bigint;
update tag_events set media_type = m.media_type, manifest_size = m.size
    from (select digest, media_type, octet_length(manifest) as size from images) m where m.digest = tag_events.digest;
