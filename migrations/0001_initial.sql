-- One text for SQLite and PostgreSQL. Ids are UUIDv7 as text, times are milliseconds since the epoch, flags are 0 or 1, JSON is text.
-- Every change of state appends to `ledger`; its sequence is the one clock by which everything else is ordered.

create table ledger (
    sequence bigint primary key,
    at bigint not null,
    actor_kind text not null,           -- person, robot, schedule, build, webhook, system
    actor text not null,
    action text not null,               -- noun.verb, for instance tag.roll-back
    project text,                       -- the project's name, when the object is in one
    object text not null,               -- what changed, as people name it: base:latest, app-a, httpd-base-14
    from_value text,
    to_value text,
    reason text,
    cause bigint,                       -- the ledger row that led to this one
    cascade_id text,
    previous_hash text not null,
    hash text not null                  -- sha256 over every column above and previous_hash
);
create index ledger_project on ledger (project, sequence);

create table users (
    id text primary key,
    name text not null,
    display_name text not null default '',
    password_hash text,                 -- argon2id in PHC form; null: cannot sign in with a password
    site_admin bigint not null default 0,
    created_at bigint not null,
    disabled_at bigint,
    constraint users_name_key unique (name)
);

create table projects (
    id text primary key,
    name text not null,
    display_name text not null default '',
    description text not null default '',
    created_at bigint not null,
    created_by text not null,
    version bigint not null,            -- sequence of the last change, Kubernetes' resourceVersion
    constraint projects_name_key unique (name)
);

create table role_bindings (
    project_id text not null references projects (id) on delete cascade,
    user_id text not null references users (id) on delete cascade,
    role text not null,                 -- viewer, editor, admin
    created_at bigint not null,
    primary key (project_id, user_id)
);
create index role_bindings_user on role_bindings (user_id);

create table sessions (
    id text primary key,
    data text not null,
    expires_at bigint not null
);

create table streams (
    id text primary key,
    project_id text not null references projects (id) on delete cascade,
    name text not null,
    description text not null default '',
    labels text not null default '{}',
    annotations text not null default '{}',
    local_lookup bigint not null default 0,
    generation bigint not null default 1,
    created_at bigint not null,
    created_by text not null,
    version bigint not null,
    constraint streams_project_name_key unique (project_id, name)
);

create table tags (
    id text primary key,
    stream_id text not null references streams (id) on delete cascade,
    name text not null,
    -- what the tag should be (OpenShift's spec.tags)
    has_spec bigint not null default 0, -- a spec tag exists; without it the tag only has a history
    source_kind text,                   -- DockerImage, ImageStreamTag, ImageStreamImage; null: fed by pushes
    source text,                        -- from.name as typed
    source_project text,                -- from.namespace as typed
    follows_tag_id text,                -- the tag it follows, when source_kind is ImageStreamTag
    reference_only bigint not null default 0,
    insecure bigint not null default 0,
    scheduled bigint not null default 0,
    interval_ms bigint,                 -- null: the server's default
    import_mode text not null default 'PreserveOriginal',
    reference_policy text not null default 'Source',
    annotations text not null default '{}',
    generation bigint not null default 0,
    -- what it is now: a copy of its newest moving event
    digest text,
    reference text,
    event_sequence bigint,
    event_number bigint not null default 0,
    moved_at bigint,
    created_at bigint not null,
    deleted_at bigint,                  -- history is kept
    constraint tags_stream_name_key unique (stream_id, name)
);
create index tags_follows on tags (follows_tag_id);
create index tags_digest on tags (digest);

-- How following an external reference goes; one row for each tag that does.
create table tag_imports (
    tag_id text primary key references tags (id) on delete cascade,
    next_at bigint,                     -- null: only when asked
    requested_at bigint,                -- somebody pressed Check now; cleared by the check
    requested_by text,
    last_try_at bigint,
    last_ok_at bigint,
    outcome text not null default 'new',    -- new, ok, unchanged, failed
    reason text,
    message text,
    failing_since bigint,
    failures bigint not null default 0,
    upstream_digest text,
    generation bigint not null default 0,   -- of the tag's spec at the last try
    lease_owner text,
    lease_until bigint
);
create index tag_imports_next on tag_imports (next_at);

create table cascades (
    id text primary key,
    project_id text not null references projects (id) on delete cascade,
    number bigint not null,
    title text not null,
    root_sequence bigint not null,
    kind text not null,                 -- push, import, build, rollback, restore, api, …
    actor_kind text not null,
    actor text not null,
    created_at bigint not null,
    paused_at bigint,
    cancelled_at bigint,
    undone_at bigint,
    undone_by text,
    undoes text,                        -- the cascade this one undid
    constraint cascades_project_number_key unique (project_id, number)
);

-- Append-only. The order is `sequence`, never a timestamp.
create table tag_events (
    sequence bigint primary key,
    tag_id text not null references tags (id) on delete cascade,
    number bigint not null,             -- counts the tag's rows from 1
    outcome text not null,              -- moved, held, rejected, deleted
    digest text,
    reference text,
    from_digest text,
    generation bigint not null,
    kind text not null,                 -- push, import, build, follow, rollback, restore, api
    actor_kind text not null,
    actor text not null,
    reason text,
    cause bigint,
    cascade_id text not null,
    build_id text,
    to_sequence bigint,                 -- rollback and restore: the row gone back to
    at bigint not null,
    constraint tag_events_tag_number_key unique (tag_id, number)
);
create index tag_events_digest on tag_events (digest);
create index tag_events_cascade on tag_events (cascade_id);
create index tag_events_build on tag_events (build_id) where build_id is not null;

create table blobs (
    digest text primary key,
    size bigint not null,
    created_at bigint not null
);

-- Which blobs a repository may serve and mount from.
create table repository_blobs (
    stream_id text not null references streams (id) on delete cascade,
    digest text not null,
    at bigint not null,
    primary key (stream_id, digest)
);
create index repository_blobs_digest on repository_blobs (digest);

create table uploads (
    id text primary key,
    stream_id text not null references streams (id) on delete cascade,
    actor text not null,
    started_at bigint not null,
    updated_at bigint not null
);

create table images (
    digest text primary key,
    media_type text not null,
    artifact_type text,
    manifest text not null,             -- byte for byte as pushed; JSON is UTF-8
    size bigint not null,               -- distinct layers and config
    config_digest text,
    config text,                        -- the image configuration, byte for byte, when it is JSON
    subject text,
    architecture text,
    os text,
    variant text,
    created_claimed text,               -- the image's own `created`
    annotations text not null default '{}',
    first_seen_at bigint not null
);
create index images_subject on images (subject);

create table image_layers (
    digest text not null references images (digest) on delete cascade,
    position bigint not null,
    layer_digest text not null,
    size bigint not null,
    media_type text not null,
    primary key (digest, position)
);
create index image_layers_layer on image_layers (layer_digest);

create table image_children (
    digest text not null references images (digest) on delete cascade,
    position bigint not null,
    child_digest text not null,
    media_type text not null,
    size bigint not null,
    architecture text,
    os text,
    variant text,
    primary key (digest, position)
);
create index image_children_child on image_children (child_digest);

-- Which manifests a repository serves by digest.
create table repository_images (
    stream_id text not null references streams (id) on delete cascade,
    digest text not null,
    source text,                        -- an external repository, when blobs may still be only there
    at bigint not null,
    primary key (stream_id, digest)
);
create index repository_images_digest on repository_images (digest);

create table secrets (
    id text primary key,
    project_id text not null references projects (id) on delete cascade,
    name text not null,
    kind text not null,                 -- registry, basic-auth, ssh-auth
    data text not null,                 -- sealed with the server's key
    created_at bigint not null,
    version bigint not null,
    constraint secrets_project_name_key unique (project_id, name)
);

create table build_configs (
    id text primary key,
    project_id text not null references projects (id) on delete cascade,
    name text not null,
    labels text not null default '{}',
    annotations text not null default '{}',
    spec text not null,                 -- source, strategy, output, arguments: what its author wrote
    output_tag_id text not null references tags (id),
    image_trigger bigint not null default 1,
    config_trigger bigint not null default 1,
    paused_at bigint,
    generation bigint not null default 1,
    inspected_generation bigint not null default 0,
    inspect_error text,
    last_number bigint not null default 0,
    created_at bigint not null,
    created_by text not null,
    written_by text not null,           -- whose rights decide what images of other projects it may build on
    version bigint not null,
    constraint build_configs_project_name_key unique (project_id, name)
);
create index build_configs_output on build_configs (output_tag_id);

create table build_inputs (
    config_id text not null references build_configs (id) on delete cascade,
    position bigint not null,
    kind text not null,                 -- FROM, COPY --from, ADD --from, mount, syntax, strategy
    stage text not null,
    reference text not null,
    -- the stream's tag it stands for, by name, when it can stand for one
    input_project text,
    input_stream text,
    input_tag text,
    short_name bigint not null default 0,   -- stands for a stream only while the project has one of that name
    triggering bigint not null default 1,
    how text not null,                  -- declared, found
    used_digest text,                   -- at the last request, or what was accepted without a build
    used_at bigint,
    primary key (config_id, position)
);
create index build_inputs_stream on build_inputs (input_project, input_stream, input_tag);

create table builds (
    id text primary key,
    config_id text not null references build_configs (id) on delete cascade,
    project_id text not null references projects (id) on delete cascade,
    number bigint not null,
    key text not null,                  -- hash of inputs, revision, generation and the request it follows
    phase text not null,                -- New, Pending, Running, Complete, Failed, Error, Cancelled
    reason text,
    message text,
    spec text not null,                 -- the config as it was when the build was requested
    inputs text not null,               -- the pinned inputs
    revision text,
    commit_requested text,
    trigger_kind text not null,         -- manual, image, config, webhook, rebuild, retry
    trigger_text text not null,
    actor_kind text not null,
    actor text not null,
    sequence bigint not null,           -- ledger row of the request
    cause bigint,
    cascade_id text not null,
    rebuild_of bigint,
    attempt bigint not null default 1,
    steps text not null default '[]',
    output_digest text,
    output_sequence bigint,
    queued_at bigint not null,
    started_at bigint,
    finished_at bigint,
    cancel_requested_at bigint,
    cancel_requested_by text,
    log_lines bigint not null default 0,
    lease_owner text,
    lease_until bigint,
    version bigint not null,
    constraint builds_config_number_key unique (config_id, number),
    constraint builds_config_key_key unique (config_id, key)
);
create index builds_phase on builds (phase, queued_at);
create index builds_project on builds (project_id, sequence);
create index builds_cascade on builds (cascade_id);

-- A build's log in pieces of whole lines.
create table build_logs (
    build_id text not null references builds (id) on delete cascade,
    first_line bigint not null,         -- counts from 1
    lines bigint not null,
    text text not null,                 -- each line ended by a newline
    primary key (build_id, first_line)
);

create table apps (
    id text primary key,
    project_id text not null references projects (id) on delete cascade,
    name text not null,
    labels text not null default '{}',
    annotations text not null default '{}',
    spec text not null,
    tag_id text not null references tags (id),
    automatic bigint not null default 1,
    generation bigint not null default 1,
    last_number bigint not null default 0,
    observed text,                      -- what the engine said last
    observed_at bigint,
    observe_error text,                 -- why it could not be asked
    created_at bigint not null,
    created_by text not null,
    deleted_at bigint,                  -- the engine still has to forget it
    version bigint not null,
    lease_owner text,
    lease_until bigint,
    constraint apps_project_name_key unique (project_id, name)
);
create index apps_tag on apps (tag_id);

create table rollouts (
    id text primary key,
    app_id text not null references apps (id) on delete cascade,
    number bigint not null,
    digest text not null,
    repository text not null,           -- <project>/<stream> the image is pulled from
    kind text not null,                 -- image, config, manual, rollback, restore
    spec text not null,
    to_number bigint,                   -- rollback: the rollout gone back to
    actor_kind text not null,
    actor text not null,
    reason text,
    sequence bigint not null,
    cause bigint,
    cascade_id text not null,
    phase text not null,                -- Pending, Running, Complete, Failed, Cancelled
    message text,
    created_at bigint not null,
    started_at bigint,
    finished_at bigint,
    constraint rollouts_app_number_key unique (app_id, number)
);
create index rollouts_phase on rollouts (phase);
create index rollouts_cascade on rollouts (cascade_id);

create table tokens (
    id text primary key,
    kind text not null,                 -- user, build, pull
    name text not null,
    hash text not null,                 -- sha256 of the token
    user_id text references users (id) on delete cascade,
    project_id text references projects (id) on delete cascade,    -- limits the token to one project
    role text,                          -- limits the token to one role
    build_id text references builds (id) on delete cascade,
    created_at bigint not null,
    expires_at bigint,
    last_used_at bigint,
    revoked_at bigint,
    constraint tokens_hash_key unique (hash)
);
create index tokens_user on tokens (user_id);

-- What keeps automation from moving a tag or an app.
create table holds (
    id text primary key,
    tag_id text references tags (id) on delete cascade,
    app_id text references apps (id) on delete cascade,
    actor text not null,
    reason text,
    since bigint not null,
    sequence bigint not null,
    cascade_id text,
    ended_at bigint,
    ended_by text
);
create index holds_tag on holds (tag_id, ended_at);
create index holds_app on holds (app_id, ended_at);

-- Digests no automatic mover may put back on a tag.
create table rejected_digests (
    id text primary key,
    tag_id text not null references tags (id) on delete cascade,
    digest text not null,
    actor text not null,
    reason text,
    since bigint not null,
    sequence bigint not null,
    cascade_id text,
    ended_at bigint,
    ended_by text
);
create index rejected_digests_tag on rejected_digests (tag_id, digest);

-- PostgreSQL's writers take a lock on this table first, so that there is one writer at a time, as SQLite has it anyway.
create table write_lock (
    id bigint primary key
);
