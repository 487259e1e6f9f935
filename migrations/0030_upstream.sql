-- When the allowance that a registry told of is whole again, where it tells that (ratelimit-reset).
alter table registry_budgets add column resets_at bigint;

-- A webhook named something the rule wants while its repository was being listed: it is listed once more soon after.
alter table import_rules add column hinted_at bigint;

-- Since when checks of the project's tags are overdue; null while none is.
alter table projects add column imports_overdue_at bigint;
