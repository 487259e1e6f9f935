-- What a project's streams may grow to; null: without a limit.
alter table projects add column max_image_bytes bigint;
alter table projects add column max_stream_images bigint;
alter table projects add column max_stream_tags bigint;
