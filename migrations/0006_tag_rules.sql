-- What a stream forbids its tags.
alter table streams add column immutable_tags text not null default '[]'; -- JSON list of globs: tags so named stay where they point
alter table streams add column kind_changes bigint not null default 0;    -- 1: a push may put an artifact on an image's tag, or the other way round
-- Where a tag pointed at a moment: read in the order of its history, without its rows.
create index tag_events_moments on tag_events (tag_id, number, at, outcome, sequence);
-- The list of a stream's deleted tags, however many live ones it has.
create index tags_deleted on tags (stream_id, name) where deleted_at is not null;
