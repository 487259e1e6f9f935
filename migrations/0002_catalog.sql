-- What the console's lists need so that a page costs the same at ten tags and at ten thousand.
create index tags_stream_moved on tags (stream_id, moved_at);
create index tag_imports_outcome on tag_imports (outcome);
create index holds_active on holds (ended_at);
