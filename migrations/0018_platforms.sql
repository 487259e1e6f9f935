-- An index whose stream wants more of its platforms than are here: the repository of another registry to bring them from, and since when.
-- Unlike with `source` what is here is whole as it is. `complete_at` says when, as for images that are not.
alter table repository_images add column more_from text;
alter table repository_images add column more_at bigint;
create index repository_images_more on repository_images (complete_at) where more_from is not null;
