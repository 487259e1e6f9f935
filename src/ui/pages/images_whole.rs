//! Whether the image that somebody looks at going back to is whole.

use crate::server::importer::ImportError;
use crate::ui::context::Cx;
use crate::ui::error::UiError;

/// What of an image is missing, in a sentence, as it is looked at now; `None` when nothing is, or nobody can tell.
pub async fn not_whole(cx: &Cx, digest: &str) -> Result<Option<String>, UiError> {
    match cx.state.app.importer.problem_of(digest).await {
        Ok(problem) => Ok(problem.map(|problem| format!("Its image is not whole: {problem}. Push it again."))),
        Err(ImportError::Store(error)) => Err(error.into()),
        // That it cannot be looked at is no reason to keep anybody from going back.
        Err(_) => Ok(None),
    }
}
