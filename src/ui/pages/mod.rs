//! One file per page: the function that reads the store and lays the page out, and beside it what its forms post to.

pub mod look;
pub mod projects;
pub mod sign_in;

use super::app::PageResult;
use super::context::Cx;
use super::error::UiError;

/// Any path that no route knows.
pub async fn not_found(cx: Cx) -> PageResult {
    cx.viewer()?;
    Err(UiError::NotFound { what: format!("The page {}", cx.path()) })
}
