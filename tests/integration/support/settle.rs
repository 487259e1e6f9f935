//! Driving the controllers by hand until nothing is left to do.

use std::time::{Duration, Instant};

use weir::server::controllers;

use super::TestWeir;

/// What takes longer does not end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Rounds without any change that count as the end: an engine replaces one replica at a look, which no row tells.
const QUIET_ROUNDS: u32 = 15;

/// Everything that changes while there is something to do.
const STATE: &str = "select coalesce((select max(sequence) from ledger), 0), \
    (select count(*) from builds where phase in ('New', 'Pending', 'Running')), \
    (select count(*) from builds), \
    (select count(*) from rollouts where phase in ('Pending', 'Running')), \
    (select count(*) from rollouts)";

impl TestWeir {
    /// Runs the controllers until a few rounds in a row have changed nothing and no build is under way. A controller that fails, fails
    /// the test.
    pub async fn settle(&self) {
        let began = Instant::now();
        let pool = self.database().await;
        let (mut before, mut quiet) = (None, 0);
        while quiet < QUIET_ROUNDS {
            assert!(began.elapsed() < PATIENCE, "not settled after {} s: {before:?}", PATIENCE.as_secs());
            for controller in &self.controllers {
                let ran = controllers::step(&**controller).await;
                ran.unwrap_or_else(|cause| panic!("{}: {cause:#}", controller.name()));
            }
            let now: (i64, i64, i64, i64, i64) = sqlx::query_as(STATE).fetch_one(&pool).await.expect("the state");
            // Builds are carried out by tasks beside the controllers.
            let is_busy = !self.runner.tracker.is_empty();
            if is_busy || before != Some(now) {
                quiet = 0;
                tokio::time::sleep(Duration::from_millis(if is_busy { 10 } else { 1 })).await;
            } else {
                quiet += 1;
            }
            before = Some(now);
        }
        pool.close().await;
    }

    /// The database itself, for what no verb does: turning back time.
    pub async fn database(&self) -> sqlx::AnyPool {
        sqlx::AnyPool::connect(&self.database_url).await.expect("the database")
    }

    /// Lets notices that wait for their next attempt be due now.
    pub async fn hurry_notices(&self) {
        let pool = self.database().await;
        let hurry = sqlx::query("update notices set next_at = 0 where next_at is not null");
        hurry.execute(&pool).await.expect("hurried");
        pool.close().await;
    }
}
