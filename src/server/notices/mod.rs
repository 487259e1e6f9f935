//! Telling other programs what changed: a notice put into words, signed, and sent to an address that may be told.
//!
//! The form is that of [Standard Webhooks](https://www.standardwebhooks.com): one JSON document with `type`, `timestamp` and `data`, and
//! the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`. When to send what is the controller's business.

mod addresses;
mod body;
mod sender;
mod sign;

pub use addresses::{Reach, check_url};
pub use body::body;
pub use sender::{Sender, Sent};
pub use sign::{NoticeSecretError, new_secret, parse_secret};
