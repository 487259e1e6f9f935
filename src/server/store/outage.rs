//! When the database cannot work for a while: told from errors that trying again would not help against.

use super::Error;

/// Why the database cannot do what it is asked at the moment. Nothing was changed; the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// It cannot be reached, or does not get to it.
    Away,
    /// Its disk has no room.
    Full,
}

impl Outage {
    /// Seconds after which trying again is worth it.
    pub const RETRY_AFTER: u64 = 5;

    /// What clients are told.
    pub fn message(self) -> &'static str {
        match self {
            Self::Away => {
                "the database does not answer at the moment and nothing was changed: try again in some seconds"
            }
            Self::Full => {
                "the disk of the database is full and nothing was changed: free space, or move it to a larger disk"
            }
        }
    }

    pub(super) fn of(cause: &sqlx::Error) -> Option<Self> {
        match cause {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Some(Self::Away),
            sqlx::Error::Database(cause) => Self::of_code(&cause.code().unwrap_or_default()),
            _ => None,
        }
    }

    /// PostgreSQL's codes have five characters (its appendix A), SQLite's are numbers with the primary code in the lowest byte
    /// (<https://www.sqlite.org/rescode.html>).
    fn of_code(code: &str) -> Option<Self> {
        const BUSY: u32 = 5;
        const IOERR: u32 = 10;
        const FULL: u32 = 13;
        const CANTOPEN: u32 = 14;
        match code {
            "53100" => Some(Self::Full),
            // Connections that broke, too many of them, and servers that stop, start or recover.
            _ if code.len() == 5 => {
                ["08", "53", "57P"].iter().any(|class| code.starts_with(class)).then_some(Self::Away)
            }
            _ => match code.parse::<u32>().ok()? & 0xff {
                FULL => Some(Self::Full),
                BUSY | IOERR | CANTOPEN => Some(Self::Away),
                _ => None,
            },
        }
    }
}

impl Error {
    /// Whether this is the database's trouble of the moment, and which.
    pub fn outage(&self) -> Option<Outage> {
        if let Self::Db(cause) = self { Outage::of(cause) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_what_passes_from_what_stays() {
        for full in ["13", "53100"] {
            assert_eq!(Outage::of_code(full), Some(Outage::Full), "{full}");
        }
        // Busy, busy with a snapshot, an error of the disk, one while growing the index of the WAL.
        for away in ["5", "517", "10", "4874", "14", "08006", "53300", "57P01", "57P03"] {
            assert_eq!(Outage::of_code(away), Some(Outage::Away), "{away}");
        }
        // A constraint, corruption, bad SQL, a unique violation, a statement that was cancelled.
        for stays in ["19", "2067", "11", "1", "23505", "42601", "57014", ""] {
            assert_eq!(Outage::of_code(stays), None, "{stays}");
        }
        assert_eq!(Error::from(sqlx::Error::PoolTimedOut).outage(), Some(Outage::Away));
        assert_eq!(Error::Conflict(String::new()).outage(), None);
    }
}
