-- Notices: what other programs are told of a project's changes, and how telling them went.

-- Who wants to know.
create table notice_targets (
    id text primary key,
    project_id text not null references projects (id) on delete cascade,
    name text not null,
    url text not null,
    secret text not null,               -- sealed with the server's key; signs every notice
    kinds text not null,                -- JSON list of the kinds it is told
    since bigint not null,              -- it is told of rows of the ledger after this one
    off_at bigint,                      -- null: it is told
    created_at bigint not null,
    created_by text not null,
    version bigint not null,            -- sequence of the last change
    tried_at bigint not null default 0, -- the last attempt: whoever waits longest comes first
    tried_id text,                      -- the notice of that attempt
    lease_owner text,
    lease_until bigint,                 -- one notice at a time
    constraint notice_targets_project_name_key unique (project_id, name)
);

-- What is told, once for each target and row of the ledger. A row with `next_at` waits to be delivered.
create table notices (
    id text primary key,                -- goes with every attempt
    target_id text not null references notice_targets (id) on delete cascade,
    sequence bigint not null,           -- the row of the ledger it tells of
    kind text not null,
    object text not null,
    body text not null,                 -- the same in every attempt
    created_at bigint not null,
    state text not null,                -- waiting, delivered, failed, dropped
    next_at bigint,
    attempts bigint not null default 0,
    failures bigint not null default 0, -- in a row, since it was made or asked for again
    ended_at bigint,
    last_answer text,                   -- of the last attempt, in a few words
    constraint notices_target_sequence_key unique (target_id, sequence)
);
create index notices_due on notices (target_id, next_at) where next_at is not null;
create index notices_ended on notices (ended_at) where ended_at is not null;

-- Every attempt, as it went over the wire.
create table notice_attempts (
    notice_id text not null references notices (id) on delete cascade,
    number bigint not null,             -- counts from 1
    at bigint not null,
    duration_ms bigint not null,
    request text not null,              -- without the body, which is the notice's
    status bigint,                      -- null: no answer
    response text,                      -- headers and the beginning of the body
    problem text,                       -- why it does not count as delivered
    primary key (notice_id, number)
);

-- Up to which row of the ledger notices were made.
create table notice_cursor (
    id bigint primary key,
    sequence bigint not null
);
insert into notice_cursor (id, sequence) values (1, 0);

-- Since when a project holds nearly what it may: a notice is due when that begins and when it ends.
alter table projects add column quota_short_at bigint;

-- The past. Streams that were deleted, with what their tags pointed to: the catalog as it was shows them. Their images are not kept for it.
create table ended_streams (
    id text primary key,
    project_id text not null references projects (id) on delete cascade,
    name text not null,
    description text not null,
    created_at bigint not null,
    created_by text not null,
    deleted_at bigint not null,
    deleted_by text not null
);
create index ended_streams_name on ended_streams (project_id, name, created_at);

create table ended_tags (
    id text primary key,
    stream_id text not null references ended_streams (id) on delete cascade,
    name text not null
);
create index ended_tags_name on ended_tags (stream_id, name);

create table ended_tag_events (
    sequence bigint primary key,
    tag_id text not null references ended_tags (id) on delete cascade,
    number bigint not null,
    outcome text not null,
    digest text,
    reference text,
    generation bigint not null,
    kind text not null,
    actor_kind text not null,
    actor text not null,
    reason text,
    at bigint not null
);
create index ended_tag_events_moments on ended_tag_events (tag_id, number, at, outcome, sequence);

-- Which holds there were at a moment.
create index holds_tag_times on holds (tag_id, since, ended_at);
