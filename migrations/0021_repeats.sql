-- Attempts that came to the same again: to the image the tag points to already, or to the refusal that is the tag's newest row.
alter table tag_events add column repeats bigint not null default 0;
alter table tag_events add column repeated_at bigint;
