-- What other registries let this site ask: one row for each registry and account there, shared by all servers of the site.
create table registry_budgets (
    id text primary key,                -- the host, and for an account a keyed hash of its name and password
    host text not null,
    account text not null,              -- user name there; empty: nobody's
    limit_count bigint,                 -- as its ratelimit-* headers told last
    remaining bigint,
    window_ms bigint,
    told_at bigint,
    heads_count bigint,                 -- 1: a HEAD takes from what remains, 0: it does not, null: not seen yet
    answered_at bigint,                 -- the last answer of any kind; null: nothing was asked yet
    rest_until bigint,                  -- nothing is asked until then
    rest_reason text,                   -- rate-limit, abuse-limit
    strikes bigint not null default 0,  -- refusals since anything was answered
    gap_ms bigint not null,             -- between two checks
    slowed_at bigint,                   -- when the gap changed last
    next_slot_at bigint not null default 0,     -- up to where checks were given out
    least_interval_ms bigint not null default 0 -- its tags cannot be checked more often than that
);

-- Who asked how much, by hour since the epoch.
create table registry_spend (
    budget_id text not null references registry_budgets (id) on delete cascade,
    project_id text not null references projects (id) on delete cascade,
    hour bigint not null,
    heads bigint not null default 0,
    gets bigint not null default 0,     -- of manifests
    primary key (budget_id, project_id, hour)
);
create index registry_spend_hour on registry_spend (hour);
create index registry_spend_project on registry_spend (project_id);

-- What a check asks, found out from the tag's source and its project's secrets; null until then, and again when one of them changes.
alter table tag_imports add column budget text;
alter table tag_imports add column question text;       -- the same for all tags whose check is the same request
alter table tag_imports add column repository text;     -- as webhooks name it
alter table tag_imports add column upstream_tag text;
alter table tag_imports add column project_id text;
alter table tag_imports add column overdue_at bigint;   -- two intervals after the last check
create index tag_imports_budget on tag_imports (budget, next_at, project_id);
create index tag_imports_requested on tag_imports (budget) where requested_at is not null;
create index tag_imports_leased on tag_imports (budget, lease_until) where lease_until is not null;
create index tag_imports_question on tag_imports (question);
create index tag_imports_repository on tag_imports (repository);
create index tag_imports_overdue on tag_imports (overdue_at);
create index tag_imports_project on tag_imports (project_id);

-- What is only a reference is never checked.
delete from tag_imports where tag_id in (select id from tags where reference_only = 1);

-- Counts how often the secret of the project's webhook was made anew.
alter table projects add column hook_generation bigint not null default 0;
