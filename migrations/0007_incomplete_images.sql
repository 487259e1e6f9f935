-- Images that were recorded while parts of them are still only in another registry (`source` is not null): when a worker brings
-- the rest next, null for at once. A worker that has begun sets it to the end of its lease.
alter table repository_images add column complete_at bigint;
create index repository_images_incomplete on repository_images (complete_at) where source is not null;
