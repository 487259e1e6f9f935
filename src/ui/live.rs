//! The console's event stream: tells a page that something in its project changed, and nothing more. What changed the page asks for
//! itself, as the reader it is shown to.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use super::context::{Cx, UiState};
use super::error::UiError;
use crate::server::auth::Right;
use crate::server::wake::Changed;

/// At most four messages a second, however much happens.
const LEAST_GAP: Duration = Duration::from_millis(250);
const HEARTBEAT: Duration = Duration::from_secs(15);
/// After this long the browser has to ask again, so that a right that was taken away ends here too.
const LONGEST: Duration = Duration::from_secs(600);

/// `GET /events?project=`
pub async fn events(State(state): State<UiState>, cx: Cx) -> Response {
    let project = match cx.project_named(cx.query("project"), Right::View).await {
        Ok(project) => project.project.name,
        Err(UiError::SignIn) => return StatusCode::UNAUTHORIZED.into_response(),
        Err(error) => return error.into_response(),
    };
    let changes = state.app.store.wake().changes();
    let stream = messages(project, changes, state.app.stop.clone());
    let keep_alive = KeepAlive::new().interval(HEARTBEAT);
    // Proxies must not collect what is meant to arrive at once.
    ([(HeaderName::from_static("x-accel-buffering"), "no")], Sse::new(stream).keep_alive(keep_alive)).into_response()
}

fn messages(
    project: String,
    changes: Receiver<Changed>,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let until = tokio::time::Instant::now() + LONGEST;
    futures_util::stream::unfold((project, changes, shutdown), move |(project, mut changes, shutdown)| async move {
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep_until(until) => return None,
            changed = next_change(&project, &mut changes) => if !changed { return None },
        }
        // What comes while this waits is told by the same message: the page is asked for only afterwards.
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(LEAST_GAP) => {}
        }
        changes = changes.resubscribe();
        Some((Ok(Event::default().data("changed")), (project, changes, shutdown)))
    })
}

/// Waits for a change of the project; false when there will be none any more.
async fn next_change(project: &str, changes: &mut Receiver<Changed>) -> bool {
    loop {
        match changes.recv().await {
            Ok(changed) if changed.project == project => return true,
            Ok(_) => {}
            // Something was missed: it may have been ours.
            Err(RecvError::Lagged(_)) => return true,
            Err(RecvError::Closed) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;
    use crate::server::wake::Wake;

    #[tokio::test]
    async fn many_changes_make_one_message_and_others_none() {
        let wake = Wake::default();
        let mut stream = Box::pin(messages("demo".to_owned(), wake.changes(), CancellationToken::new()));
        wake.changed("other");
        assert!(stream.next().now_or_never().is_none());
        for _ in 0..50 {
            wake.changed("demo");
        }
        assert!(stream.next().await.is_some());
        assert!(stream.next().now_or_never().is_none());
        wake.changed("demo");
        assert!(stream.next().await.is_some());
    }

    #[tokio::test]
    async fn ends_when_the_server_does() {
        let shutdown = CancellationToken::new();
        let wake = Wake::default();
        let mut stream = Box::pin(messages("demo".to_owned(), wake.changes(), shutdown.clone()));
        shutdown.cancel();
        assert!(stream.next().await.is_none());
    }
}
