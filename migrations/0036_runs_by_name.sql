-- A deleted run of a build is found by its config's name and its number; where a config of that name was made again, the last one before a
-- moment counts.
create index ended_builds_named on ended_builds (project_id, config, number, sequence);
