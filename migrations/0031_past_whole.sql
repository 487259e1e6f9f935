-- The past, whole: what was deleted or changed since is kept as far as lists and pages of the past show it.

-- Deleted streams: histories that are as whole as those of streams that are there, in the orders that tags are listed in.
alter table ended_tags add column name_key text not null default '';
alter table ended_tags add column version_key text not null default '';
create index ended_tags_name_key on ended_tags (stream_id, name_key);
create index ended_tags_version_key on ended_tags (stream_id, version_key);
create index ended_tags_without_keys on ended_tags (id) where name_key = '';
alter table ended_tag_events add column stream_id text not null default '';
alter table ended_tag_events add column from_digest text;
alter table ended_tag_events add column cause bigint;
alter table ended_tag_events add column cascade_id text not null default '';
alter table ended_tag_events add column build_id text;
alter table ended_tag_events add column to_sequence bigint;
alter table ended_tag_events add column repeats bigint not null default 0;
alter table ended_tag_events add column repeated_at bigint;
alter table ended_tag_events add column request_id text;
update ended_tag_events set stream_id = t.stream_id from (select id, stream_id from ended_tags) t where t.id = ended_tag_events.tag_id;
update ended_tag_events set from_digest = l.from_value, cause = l.cause, cascade_id = coalesce(l.cascade_id, '')
    from (select sequence, from_value, cause, cascade_id from ledger) l where l.sequence = ended_tag_events.sequence;
create index ended_tag_events_stream on ended_tag_events (stream_id, sequence);
create index ended_tag_events_numbers on ended_tag_events (tag_id, number);
create index ended_tag_events_digest on ended_tag_events (digest);
create index ended_tag_events_cascade on ended_tag_events (cascade_id);
create index tag_events_stream_deletions on tag_events (stream_id, tag_id, number) where outcome = 'deleted';
create index ended_tag_events_deletions on ended_tag_events (stream_id, tag_id, number) where outcome = 'deleted';

-- Apps that were deleted, with their rollouts.
create table ended_apps (
    id text primary key,
    project_id text not null references projects (id) on delete cascade,
    name text not null,
    created_at bigint not null,
    created_by text not null,
    deleted_at bigint not null,
    deleted_by text not null
);
create index ended_apps_name on ended_apps (project_id, name, created_at);

create table ended_rollouts (
    id text primary key,
    app_id text not null references ended_apps (id) on delete cascade,
    number bigint not null,
    digest text not null,
    repository text not null,
    kind text not null,
    spec text not null,
    to_number bigint,
    actor_kind text not null,
    actor text not null,
    reason text,
    sequence bigint not null,
    cause bigint,
    cascade_id text not null,
    phase text not null,
    message text,
    created_at bigint not null,
    started_at bigint,
    finished_at bigint
);
create index ended_rollouts_number on ended_rollouts (app_id, number);
create index ended_rollouts_moments on ended_rollouts (app_id, sequence, number);
create index ended_rollouts_cascade on ended_rollouts (cascade_id);

-- Who held deleted apps and the tags of deleted streams.
create table ended_holds (
    owner_id text not null,             -- the app's or the tag's
    project_id text not null references projects (id) on delete cascade,
    actor text not null,
    reason text,
    since bigint not null,
    sequence bigint not null,
    ended_at bigint not null
);
create index ended_holds_owner on ended_holds (owner_id, since);

-- What build configs said before that was changed; of deleted ones, too. `spec_since` is when the present one was written. Of what was changed
-- before this was kept nothing is known.
alter table build_configs add column spec_since bigint not null default 0;
update build_configs set spec_since = created_at;
update build_configs set spec_since = l.at from (
    select p.id as project_id, l.object, max(l.at) as at from ledger l join projects p on p.name = l.project
    where l.action = 'config.update' group by p.id, l.object
) l where l.project_id = build_configs.project_id and l.object = build_configs.name and l.at > build_configs.spec_since;
create table former_configs (
    config_id text not null,
    project_id text not null references projects (id) on delete cascade,
    since bigint not null,
    until bigint not null,
    spec text not null
);
create index former_configs_config on former_configs (config_id, until);

-- Build configs that were deleted, and builds that were, with their config or alone. Their logs are not kept.
create table ended_configs (
    id text primary key,
    project_id text not null references projects (id) on delete cascade,
    name text not null,
    spec text not null,
    spec_since bigint not null,
    last_number bigint not null,
    created_at bigint not null,
    created_by text not null,
    deleted_at bigint not null,
    deleted_by text not null
);
create index ended_configs_name on ended_configs (project_id, name, created_at);

create table ended_builds (
    id text primary key,
    config_id text not null,
    config text not null,               -- the config's name
    project_id text not null references projects (id) on delete cascade,
    number bigint not null,
    phase text not null,
    reason text,
    message text,
    spec text not null,
    inputs text not null,
    revision text,
    commit_requested text,
    trigger_kind text not null,
    trigger_text text not null,
    actor_kind text not null,
    actor text not null,
    sequence bigint not null,
    cause bigint,
    cascade_id text not null,
    rebuild_of bigint,
    attempt bigint not null,
    steps text not null,
    output_digest text,
    output_sequence bigint,
    queued_at bigint not null,
    started_at bigint,
    finished_at bigint,
    cancel_requested_at bigint,
    cancel_requested_by text,
    version bigint not null,
    deleted_at bigint not null
);
create index ended_builds_project on ended_builds (project_id, sequence);
create index ended_builds_config on ended_builds (config_id, sequence, number);
create index ended_builds_number on ended_builds (config_id, number);
create index ended_builds_cascade on ended_builds (cascade_id);

-- Which cascades there were at a moment.
create index cascades_moments on cascades (project_id, root_sequence, number);
