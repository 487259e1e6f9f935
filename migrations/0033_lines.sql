-- Chains whose images are to be looked at again wait in line; one that changes while it is gone through is gone through once more after that.
alter table search_due add column due_at bigint not null default 0;     -- since when it waits; who came first goes first
alter table search_due add column again bigint not null default 0;      -- 1: it changed after it was begun
create index search_due_line on search_due (due_at, chain);

-- Which projects have checks due at a registry is found project by project.
create index tag_imports_projects on tag_imports (budget, project_id, next_at);
drop index tag_imports_requested;
create index tag_imports_requested on tag_imports (budget, project_id) where requested_at is not null;
