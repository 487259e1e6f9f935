-- What a stream's tags are sorted by besides their names and their moves. The keys are written by the server (`model/sort_key.rs`), at
-- its start for tags of before; each is a text that sorts alike in every collation.
alter table tags add column name_key text not null default '';
alter table tags add column version_key text not null default '';
alter table tags add column image_size bigint not null default -1;  -- bytes of the image it points to; -1: none
update tags set image_size = coalesce((select i.size from images i where i.digest = tags.digest), -1);
create index tags_name_key on tags (stream_id, name_key);
create index tags_version_key on tags (stream_id, version_key);
create index tags_image_size on tags (stream_id, image_size, id);
create index tags_without_keys on tags (id) where name_key = '';
