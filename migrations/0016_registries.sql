-- Registries that a site admin does not want asked for now.
create table paused_registries (
    host text primary key,              -- as in registry_budgets
    paused_at bigint not null,
    paused_by text not null,
    reason text
);

-- How registries answered those who signed in with a project's secret.
create table registry_logins (
    secret_id text not null references secrets (id) on delete cascade,
    host text not null,
    answered_at bigint,                 -- the last answer to somebody signed in; null: none since the secret was set
    failing_since bigint,               -- null: what came last was an answer
    failed_at bigint,
    reason text,                        -- wrong-password, denied
    message text,
    primary key (secret_id, host)
);

-- A check asks, and then downloads what has changed: a registry bears few questions at a time, and a download may take long.
alter table tag_imports add column downloading_at bigint;   -- null: it asks
alter table tag_imports add column found_at bigint;         -- it found something new when there was no place to download it
