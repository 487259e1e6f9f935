-- Rows of the ledger outlive their project. Those before the last deletion of its name are another project's: they are nobody's to read who
-- makes one of that name. Alone in this file, so that nothing but the ledger waits for it.
create index ledger_project_deletions on ledger (project, sequence) where action = 'project.delete';
