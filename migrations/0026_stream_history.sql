-- The history of all of a stream's tags, newest first, however many tags and rows it has.
alter table tag_events add column stream_id text not null default '';
update tag_events set stream_id = t.stream_id from (select id, stream_id from tags) t where t.id = tag_events.tag_id;
create index tag_events_stream on tag_events (stream_id, sequence);
