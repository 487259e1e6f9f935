-- A person keeps automation from building and rolling out in a project for a while. What waits for that is in no table: a config is stale,
-- an app is behind, a build is queued, and whether they may go on follows from these times at every look.
create table freezes (
    id text primary key,
    project_id text not null references projects (id) on delete cascade,
    number bigint not null,             -- counts the project's freezes from 1
    begins_at bigint not null,
    ends_at bigint,                     -- null: when somebody ends it
    reason text not null,
    actor text not null,
    created_at bigint not null,
    sequence bigint not null,           -- the ledger's row that says so
    begun_at bigint,                    -- when the ledger was told that it began
    ended_at bigint,                    -- when somebody ended it, or the ledger was told that its time was over
    ended_by text,
    constraint freezes_project_number_key unique (project_id, number)
);
create index freezes_open on freezes (project_id) where ended_at is null;

-- Sequence of the ledger at which somebody said last that this may have what its tags point to: where it was made, and for an app where it
-- was resumed. A freeze does not hold up what was there by then.
alter table build_configs add column asked_sequence bigint not null default 0;
alter table apps add column asked_sequence bigint not null default 0;
