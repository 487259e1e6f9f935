-- The past tells nothing of later.

-- On PostgreSQL each table that is changed here is locked from its line to the end of this file: what is read most comes last.

-- Where images were pulled from while their tags stayed.
create index ledger_references on ledger (project, object, sequence) where action = 'tag.refer';
create index ledger_config_updates on ledger (project, object, sequence) where action = 'config.update';

-- Up to which row of the ledger `spec_since` is known: an older server beside this one changes a config and says nothing of it there.
alter table build_configs add column spec_sequence bigint not null default 0;
update build_configs set spec_sequence = (select coalesce(max(sequence), 0) from ledger);

-- When a row of a history was last asked for again by a newer generation of its stream; null: it has the one that it came with.
alter table ended_tag_events add column renewed_at bigint;
update ended_tag_events set renewed_at = repeated_at where repeated_at is not null;
alter table tag_events add column renewed_at bigint;
update tag_events set renewed_at = repeated_at where repeated_at is not null;
