-- Where a tag pointed at a moment is one look in an index, however many rows came after it: `sorted_at` grows with `number`.
alter table tag_events add column sorted_at bigint not null default 0;       -- `at`, or the least of a later row's where the clock was set back
alter table ended_tag_events add column sorted_at bigint not null default 0;
update tag_events set sorted_at = w.earliest from (
    select sequence, min(at) over (partition by tag_id order by number rows between current row and unbounded following) as earliest
    from tag_events
) w where w.sequence = tag_events.sequence;
update ended_tag_events set sorted_at = w.earliest from (
    select sequence, min(at) over (partition by tag_id order by number rows between current row and unbounded following) as earliest
    from ended_tag_events
) w where w.sequence = ended_tag_events.sequence;
drop index tag_events_moments;
drop index ended_tag_events_moments;
create index tag_events_moments on tag_events (tag_id, sorted_at, number, outcome, sequence);
create index ended_tag_events_moments on ended_tag_events (tag_id, sorted_at, number, outcome, sequence);

-- What streams were described as before that was changed. Of deleted streams, too: the past knows them.
create table former_descriptions (
    stream_id text not null,
    project_id text not null references projects (id) on delete cascade,
    until bigint not null,                  -- when it was changed
    description text not null
);
create index former_descriptions_stream on former_descriptions (stream_id, until);
