//! Giving back what this process has claimed.

use super::{Result, Store};

impl Store {
    /// Ends this process's leases, so that others need not wait for them to run out: what a server does last.
    pub async fn release_leases(&self) -> Result<()> {
        let mut tx = self.write_tx().await?;
        for statement in [
            "update builds set lease_until = 0 where lease_owner = $1 and phase in ('Pending', 'Running')",
            "update apps set lease_owner = null, lease_until = null where lease_owner = $1",
            "update tag_imports set lease_owner = null, lease_until = null where lease_owner = $1",
            "update import_rules set lease_owner = null, lease_until = null where lease_owner = $1",
            "update layer_readings set attempts = 0, lease_owner = null, lease_until = null where lease_owner = $1",
            "update notice_targets set lease_owner = null, lease_until = null where lease_owner = $1",
            "update duties set lease_owner = null, lease_until = null where lease_owner = $1",
        ] {
            sqlx::query(statement).bind(self.owner()).execute(&mut *tx).await?;
        }
        tx.commit().await
    }
}
