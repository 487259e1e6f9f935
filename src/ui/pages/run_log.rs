//! A run's log: the part of it that a page shows, the whole as plain text, and what follows as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use leptos::prelude::*;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use super::run::open;
use crate::model::Build;
use crate::server::auth::Right;
use crate::server::store::Store;
use crate::server::wake::Changed;
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::Router;
use crate::ui::islands::LogTail;
use crate::ui::log_line::log_line_html;

/// Lines of a page; while the run goes on no more than the tail keeps.
const PAGE: i64 = 1000;
const TAIL: i64 = 400;
/// Lines read at once when the whole is sent.
const CHUNK: i64 = 2000;
const HEARTBEAT: Duration = Duration::from_secs(15);
/// After this long the browser has to ask again, so that a right that was taken away ends here too.
const LONGEST: Duration = Duration::from_secs(600);

/// `GET …/log` and `…/log/stream`
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/builds/{build}/runs/{number}/log", get(plain))
        .route("/p/{project}/builds/{build}/runs/{number}/log/stream", get(stream))
}

/// One line as HTML. `quoted` lines repeat others of the page and so have no anchor of their own.
pub fn line(number: i64, text: &str, quoted: bool) -> String {
    let html = log_line_html(number, text);
    if quoted { html.replacen(&format!(r#" id="L{number}""#), "", 1) } else { html }
}

/// The lines a page shows.
pub struct Window {
    lines: Vec<(i64, String)>,
    /// The first line asked for.
    from: i64,
    size: i64,
    /// It is the end that is shown, and so it may go on growing.
    at_end: bool,
}

impl Window {
    /// The lines from `?from=`, otherwise the last ones.
    pub async fn of(cx: &Cx, run: &Build) -> Result<Self, UiError> {
        let asked: Option<i64> = cx.query("from").parse().ok();
        let size = if run.phase.is_final() || asked.is_some() { PAGE } else { TAIL };
        let from = asked.unwrap_or(run.log_lines - size + 1).max(1);
        let lines = cx.store().read_log(&run.id, from, size).await?;
        let at_end = asked.is_none() || from + size > run.log_lines;
        Ok(Self { lines, from, size, at_end })
    }

    /// The log with the ways to its other parts.
    pub fn view(self, run: &Build, path: &str) -> AnyView {
        let last = self.lines.last().map_or(self.from - 1, |(number, _)| *number);
        let html: String = self.lines.iter().map(|(number, text)| line(*number, text, false)).collect();
        let live = !run.phase.is_final() && self.at_end;
        let empty = self.lines.is_empty() && run.phase.is_final();
        let earlier = (self.from > 1).then(|| {
            let before = (self.from - PAGE).max(1);
            view! {
                <a class="btn btn-small" href=format!("{path}?from=1#log")>
                    "Beginning"
                </a>
                <a class="btn btn-small" href=format!("{path}?from={before}#end")>
                    "Earlier"
                </a>
            }
        });
        let later = (last < run.log_lines).then(|| {
            let after = self.from + self.size;
            view! {
                <a class="btn btn-small" href=format!("{path}?from={after}#log")>
                    "Later"
                </a>
                <a class="btn btn-small" href=format!("{path}#end")>
                    "End"
                </a>
            }
        });
        let shown = match (self.lines.first(), run.log_lines) {
            (None, _) => "No lines yet".to_owned(),
            (Some((first, _)), all) => format!("Lines {first}–{last} of {}", all.max(last)),
        };
        let tail = live.then(|| view! { <LogTail url=format!("{path}/log/stream") next=last + 1 /> });
        let refresh = live
            .then(|| view! { <noscript><a class="btn btn-small" href=format!("{path}#end")>"Refresh"</a></noscript> });
        let log = if empty {
            view! { <p class="muted" id="log">"It wrote no log."</p> }.into_any()
        } else {
            view! { <div class="log" id="log" tabindex="0" role="region" aria-label="Log" inner_html=html></div> }
                .into_any()
        };
        view! {
            <div class="log-bar">
                <div class="btn-group">{earlier} {later} {refresh}</div>
                <span class="muted small">{shown}</span>
                <a class="btn btn-small" href=format!("{path}/log")>
                    "Plain text"
                </a>
            </div>
            {log}
            {tail}
            <div id="end"></div>
        }
        .into_any()
    }
}

/// `GET …/log`: the whole log as it is stored, however long.
async fn plain(cx: Cx) -> Response {
    let run = match open(&cx, Right::View).await {
        Ok((_, run)) => run,
        Err(error) => return error.into_response(),
    };
    let (store, id) = (cx.store().clone(), run.id.clone());
    let chunks = futures_util::stream::try_unfold((store, id, 1), |(store, id, from)| async move {
        let lines = store.read_log(&id, from, CHUNK).await?;
        let Some((last, _)) = lines.last() else { return Ok::<_, crate::server::store::Error>(None) };
        let next = last + 1;
        let mut text = String::with_capacity(lines.iter().map(|(_, line)| line.len() + 1).sum());
        for (_, line) in &lines {
            text.push_str(line);
            text.push('\n');
        }
        Ok(Some((text, (store, id, next))))
    });
    let name = format!("inline; filename=\"{}.log\"", run.name());
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (CONTENT_DISPOSITION, name),
        (CACHE_CONTROL, "no-store".to_owned()),
        (HeaderName::from_static("x-content-type-options"), "nosniff".to_owned()),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

/// `GET …/log/stream?from=`: events of lines, each with the number of its last line as id; `end` once there will be no more.
async fn stream(cx: Cx) -> Response {
    let run = match open(&cx, Right::View).await {
        Ok((_, run)) => run,
        Err(UiError::SignIn) => return StatusCode::UNAUTHORIZED.into_response(),
        Err(error) => return error.into_response(),
    };
    let seen = cx.parts.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<i64>().ok());
    let next = seen.map(|seen| seen + 1).or_else(|| cx.query("from").parse().ok()).unwrap_or(1).max(1);
    let follow = Follow {
        logs: cx.store().wake().logs(),
        changes: cx.store().wake().changes(),
        store: cx.store().clone(),
        stop: cx.state.app.stop.clone(),
        run,
        next,
        ended: false,
    };
    // Proxies must not collect what is meant to arrive at once.
    let headers = [(HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, Sse::new(follow.events()).keep_alive(KeepAlive::new().interval(HEARTBEAT))).into_response()
}

/// A reader of a log that may still grow.
struct Follow {
    store: Store,
    logs: Receiver<String>,
    changes: Receiver<Changed>,
    stop: CancellationToken,
    run: Build,
    next: i64,
    ended: bool,
}

impl Follow {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        let until = tokio::time::Instant::now() + LONGEST;
        futures_util::stream::unfold(self, move |mut follow| async move {
            let stop = follow.stop.clone();
            let event = tokio::select! {
                event = follow.event() => event?,
                () = stop.cancelled() => return None,
                () = tokio::time::sleep_until(until) => return None,
            };
            Some((Ok(event), follow))
        })
    }

    /// The next event; `None` when there is nothing more to tell. A failing store ends the stream, and the browser asks again.
    async fn event(&mut self) -> Option<Event> {
        loop {
            if self.ended {
                return None;
            }
            // First whether it is over, then the lines: what is written before the end is read after it.
            let over = self.store.build_by_id(&self.run.id).await.ok()?.phase.is_final();
            let lines = self.store.read_log(&self.run.id, self.next, TAIL).await.ok()?;
            if let Some((last, _)) = lines.last() {
                let last = *last;
                self.next = last + 1;
                let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
                return Event::default().id(last.to_string()).json_data(lines).ok();
            }
            if over {
                self.ended = true;
                return Some(Event::default().event("end").data("end"));
            }
            self.grown().await;
        }
    }

    /// Waits until there may be more: its log grew, its project changed (it may have ended), or something was missed.
    async fn grown(&mut self) {
        loop {
            let ours = tokio::select! {
                log = self.logs.recv() => match log {
                    Ok(id) => id == self.run.id,
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => return std::future::pending().await,
                },
                change = self.changes.recv() => match change {
                    Ok(changed) => changed.project == self.run.project,
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => return std::future::pending().await,
                },
                // In another replica's process there is no signal: look now and then.
                () = tokio::time::sleep(Duration::from_secs(2)) => true,
            };
            if ours {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn quoted_lines_have_no_anchor() {
        assert!(super::line(7, "x", false).contains(r#"id="L7""#));
        let quoted = super::line(7, "x", true);
        assert!(!quoted.contains("id=") && quoted.contains("#L7"), "{quoted}");
    }
}
