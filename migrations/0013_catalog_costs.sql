-- What a page of the catalog asks of each stream, without reading all of its tags.
create index tags_live on tags (stream_id, moved_at) where deleted_at is null;
create index tags_imported on tags (stream_id, source) where source_kind = 'DockerImage';
create index tags_never on tags (stream_id) where moved_at is null and has_spec = 1 and deleted_at is null;
