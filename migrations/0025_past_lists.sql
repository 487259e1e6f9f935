-- Lists of the past: which rows of the ledger there were at a moment is one look in an index, and what began with such a row is found
-- by its number. `sorted_at` grows with `sequence`.
alter table ledger add column sorted_at bigint not null default 0;      -- `at`, or the greatest of an earlier row's where the clock was set back
update ledger set sorted_at = w.latest from (
    select sequence, max(at) over (order by sequence rows between unbounded preceding and current row) as latest from ledger
) w where w.sequence = ledger.sequence;
create index ledger_moments on ledger (sorted_at, sequence);
create index builds_config_moments on builds (config_id, sequence, number);
create index rollouts_app_moments on rollouts (app_id, sequence, number);
