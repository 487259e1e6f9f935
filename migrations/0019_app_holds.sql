-- Sequence of the ledger at which somebody said last what ends a hold: an app's hold that ends with a newer image ends with one that its
-- tag came to after that.
alter table holds add column until_set bigint not null default 0;
