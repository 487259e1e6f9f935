-- A hold ends when somebody resumes what it holds, and if that is wanted before: when an automation brings an image that the tag never
-- pointed to (1), or at this time.
alter table holds add column until_newer bigint not null default 0;
alter table holds add column until_at bigint;
