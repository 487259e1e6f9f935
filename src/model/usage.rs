//! How much room streams and projects take, and how often images are taken out of them.

use serde::Serialize;

/// How many days back pulls and pushes are added up: today (UTC) and the 29 days before it.
pub const TRAFFIC_DAYS: i64 = 30;

/// The number of the day (UTC) of a moment, counted from the epoch.
pub fn day_of(milliseconds: i64) -> i64 {
    milliseconds.div_euclid(24 * 60 * 60 * 1000)
}

/// What a project holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct ProjectUsage {
    /// Bytes of every blob and manifest its streams link, each once.
    pub bytes: i64,
    /// Of these, what no other project links.
    pub own_bytes: i64,
    /// The most it may hold; absent: as much as there is room for.
    pub quota_bytes: Option<i64>,
}

/// What a stream holds, and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct StreamUsage {
    pub name: String,
    /// Bytes of every blob and manifest it links, each once.
    pub bytes: i64,
    /// Of these, what no other stream links.
    pub own_bytes: i64,
    /// In [`TRAFFIC_DAYS`].
    pub pulls: i64,
    /// In [`TRAFFIC_DAYS`].
    pub pushes: i64,
}

/// How often a tag was pulled and pushed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Traffic {
    pub pulls: i64,
    pub pushes: i64,
}

impl ProjectUsage {
    /// What other projects link, too.
    pub fn shared_bytes(&self) -> i64 {
        self.bytes - self.own_bytes
    }
}

impl StreamUsage {
    /// What other streams link, too.
    pub fn shared_bytes(&self) -> i64 {
        self.bytes - self.own_bytes
    }
}
