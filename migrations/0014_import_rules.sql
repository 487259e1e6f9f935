-- Rules by which a stream takes in tags of a repository in another registry.
create table import_rules (
    id text primary key,
    stream_id text not null references streams (id) on delete cascade,
    name text not null,
    repository text not null,               -- as typed, without a tag
    pattern_kind text not null,             -- all, glob, regex, semver
    pattern text not null,
    tag_order text not null,                -- semver, natural: which tags are the newest
    newest bigint,                          -- it takes so many; null: all, as far as a rule may
    insecure bigint not null,
    import_mode text not null,
    reference_policy text not null,
    interval_ms bigint,                     -- between checks of its tags; null: the server's default
    listing_interval_ms bigint not null,
    paused_at bigint,
    created_at bigint not null,
    created_by text not null,
    version bigint not null,                -- sequence of the last change
    -- its listings
    next_at bigint not null,
    not_before bigint not null default 0,   -- the registry is asked nothing until then, whoever wants it
    requested_at bigint,                    -- somebody pressed Check now; cleared by the listing
    requested_by text,
    listing bigint not null default 0,      -- counts those that came to their end
    listed_at bigint,                       -- the end of the last of them
    next_page text,                         -- of the one under way: where it goes on; null: at the beginning
    began_at bigint,                        -- of the one under way: its first page
    pages bigint not null default 0,        -- of the one under way: kept so far
    listed_tags bigint not null default 0,
    unapplied bigint not null default 0,    -- 1: tags have not followed the last listing, or the last change of the rule, yet
    -- what became of them
    tried_at bigint,
    outcome text not null default 'new',    -- new, ok, failed
    reason text,
    message text,
    failing_since bigint,
    failures bigint not null default 0,
    seen bigint not null default 0,         -- tags of the repository
    fitting bigint not null default 0,      -- of these, those that fit the pattern
    chosen bigint not null default 0,       -- of these, the newest ones
    made bigint not null default 0,         -- of these, those that were new here
    left_alone bigint not null default 0,   -- of these, those that are somebody else's here
    lease_owner text,
    lease_until bigint,
    constraint import_rules_stream_name_key unique (stream_id, name)
);
create index import_rules_next on import_rules (next_at);

-- What the registry told, page by page: of the last listing, and of the one under way.
create table import_rule_pages (
    rule_id text not null references import_rules (id) on delete cascade,
    listing bigint not null,
    number bigint not null,                 -- counts from 1
    tags text not null,                     -- JSON list
    primary key (rule_id, listing, number)
);

-- Tags that a rule made. One whose generation is another by now was set by somebody else since, and is left alone.
create table import_rule_tags (
    tag_id text primary key references tags (id) on delete cascade,
    rule_id text not null references import_rules (id) on delete cascade,
    generation bigint not null,             -- of the tag, as the rule set it last
    selected bigint not null                -- 0: the rule does not choose it any more
);
create index import_rule_tags_rule on import_rule_tags (rule_id);
