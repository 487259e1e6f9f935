-- A tag that is pinned to an image of another stream gets from there what that image consists of, and what of it is still in another registry.
alter table tags add column pinned_stream_id text references streams (id) on delete set null;    -- null: not pinned, or to its own stream's
update tags set pinned_stream_id = (
    select s.id from streams s join projects p on p.id = s.project_id, streams o join projects q on q.id = o.project_id
    where o.id = tags.stream_id and s.id <> o.id and p.name = coalesce(tags.source_project, q.name)
    and substr(tags.source, 1, length(s.name) + 1) = s.name || '@'
) where source_kind = 'ImageStreamImage' and deleted_at is null;
create index tags_pinned on tags (pinned_stream_id) where pinned_stream_id is not null;

-- A tag may name an image elsewhere and have none: a mere reference, or what follows one. It does so until an image comes to it.
alter table tags add column refers_to text;     -- the name as typed; null: it points to its digest, if it has one
alter table tags add column refers_at bigint;   -- since when it names one
update tags set refers_to = source, refers_at = coalesce(moved_at, created_at)
    where source_kind = 'DockerImage' and reference_only = 1 and deleted_at is null and not exists (
        select 1 from streams s join projects p on p.id = s.project_id
        where s.id = tags.stream_id and tags.reference = p.name || '/' || s.name || '@' || tags.digest);

-- References to repositories of this server that are not the tag's own begin with a slash, as none to another registry does.
update tags set reference = '/' || reference
    where reference_only = 1 and source_kind in ('ImageStreamTag', 'ImageStreamImage') and exists (
        select 1 from streams s join projects p on p.id = s.project_id
        where s.id <> tags.stream_id and tags.reference = p.name || '/' || s.name || '@' || tags.digest);

-- What a tag follows may go with its stream. The tag keeps the name of it, and follows what is made under that name again.
update tags set follows_tag_id = null
    where follows_tag_id is not null and not exists (select 1 from tags f where f.id = tags.follows_tag_id);
-- In a project that only has the name of one that went, nobody asked whether it may be followed.
alter table tags add column awaits_project_id text;     -- the project of the tag that went; null: the tag's own
update tags set follows_tag_id = (
    select f.id from tags f join streams s on s.id = f.stream_id join streams o on o.project_id = s.project_id
    join projects q on q.id = o.project_id
    where o.id = tags.stream_id and q.name = coalesce(tags.source_project, q.name) and tags.source = s.name || ':' || f.name
) where source_kind = 'ImageStreamTag' and follows_tag_id is null and deleted_at is null;
create index tags_awaiting on tags (source) where follows_tag_id is null and source_kind = 'ImageStreamTag';

-- Every move is of a generation of its stream.
update tag_events set generation = 1 where generation = 0;
update ended_tag_events set generation = 1 where generation = 0;

-- A tag's newest moves since it was deleted last, however many rows of its history tell why it stayed.
create index tag_events_moved on tag_events (tag_id, number) where outcome = 'moved';
create index tag_events_deletions on tag_events (tag_id, number) where outcome = 'deleted';
