//! Pieces that pages share. Rendered on the server only; each works without script.

mod action;
mod as_of;
mod digest;
mod fields;
mod icon;
mod look_menu;
mod pager;
mod status;
mod table;
mod time;
mod who;

pub use crate::model::size_words;
pub use action::{Act, Empty, More};
pub use as_of::{AsOf, AsOfForm};
pub use digest::{CopyText, DigestText, short_digest};
pub use fields::{AreaField, CheckField, PasswordField, SelectField, TextField};
pub use icon::Icon;
pub use look_menu::LookMenu;
pub use pager::{PageSize, Pager};
pub use status::{Badge, Tone};
pub use table::{Col, DataTable};
pub use time::{Ago, duration_words};
pub use who::Who;
