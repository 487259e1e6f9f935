//! What pulls of a tag are told when its source could not be asked: that they get the last good copy, and how old it is.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Importer;
use crate::model::rfc3339;
use crate::server::store;

/// For how long it is believed that all is well: the failure of another server of ours is told that much later.
const BELIEVED: Duration = Duration::from_secs(1);
/// The longest message a header carries.
const LONGEST: usize = 300;

/// Whether anything is wrong at all, so that pulls on a good day ask nothing more.
#[derive(Default)]
pub(super) struct Troubles(Mutex<Option<(Instant, bool)>>);

impl Troubles {
    /// Something has just failed.
    pub(super) fn expect(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn believed(&self) -> Option<bool> {
        let believed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        believed.filter(|(since, _)| since.elapsed() < BELIEVED).map(|(_, failing)| failing)
    }

    fn note(&self, failing: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), failing));
    }
}

impl Importer {
    /// What a pull of the tag is to be warned of (RFC 7234, 5.5.2: 111, "Revalidation Failed"); `None` while all is well.
    pub async fn warning(&self, stream_id: &str, tag: &str) -> Result<Option<String>, store::Error> {
        let failing = match self.shared.troubles.believed() {
            Some(failing) => failing,
            None => {
                let failing = self.store.is_any_import_failing().await?;
                self.shared.troubles.note(failing);
                failing
            }
        };
        if !failing {
            return Ok(None);
        }
        let trouble = self.store.find_import_trouble(stream_id, tag).await?;
        Ok(trouble.map(|trouble| warning(trouble.message.as_deref().unwrap_or_default(), trouble.last_ok_at)))
    }
}

fn warning(message: &str, last_ok_at: Option<i64>) -> String {
    // A quoted text of a header: printable ASCII, without what would end it.
    let printable = |c: char| {
        if c == '"' || c == '\\' {
            '\''
        } else if c.is_ascii_graphic() {
            c
        } else {
            ' '
        }
    };
    let message: String = message.chars().map(printable).take(LONGEST).collect();
    let copy = match last_ok_at {
        Some(at) => format!("this is the copy of {}", rfc3339(at)),
        None => "this is what the tag pointed to before".to_owned(),
    };
    format!("111 weir \"{message}: {copy}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_well_formed_headers() {
        let text = warning("registry \"docker.io\" said\r\n«no»", Some(1_795_230_660_999));
        assert_eq!(text, "111 weir \"registry 'docker.io' said   no : this is the copy of 2026-11-21T03:11:00Z\"");
        assert!(warning(&"x".repeat(1000), None).len() < 400);
    }
}
