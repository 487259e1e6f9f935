//! What streams and projects hold, as their settings tell it.

use leptos::prelude::*;

use crate::model::{ProjectUsage, StreamUsage, Traffic};
use crate::ui::components::{TextField, size_words};

/// `12 pulls, 1 push`
pub fn traffic_words(traffic: Traffic) -> String {
    let count = |n: i64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    format!("{}, {}", count(traffic.pulls, "pull", "pulls"), count(traffic.pushes, "push", "pushes"))
}

/// A stream's share.
pub fn stream_card(usage: &StreamUsage) -> AnyView {
    let traffic = traffic_words(Traffic { pulls: usage.pulls, pushes: usage.pushes });
    view! {
        <section class="card content-narrow">
            <h2>"Storage and traffic"</h2>
            <dl class="facts">
                <dt>"Holds"</dt>
                <dd>{size_words(usage.bytes)}</dd>
                <dt>"Only here"</dt>
                <dd>{size_words(usage.own_bytes)}</dd>
                <dt>"Shared"</dt>
                <dd>{size_words(usage.shared_bytes())}" with other streams"</dd>
                <dt>"Last 30 days"</dt>
                <dd>{traffic}</dd>
            </dl>
        </section>
    }
    .into_any()
}

/// A project's share, its quota, and for site admins the form that sets it.
pub fn project_card(settings_path: &str, usage: &ProjectUsage, may_set_quota: bool) -> AnyView {
    let holds = match usage.quota_bytes {
        Some(quota) => format!("{} of {}", size_words(usage.bytes), size_words(quota)),
        None => format!("{}, without a quota", size_words(usage.bytes)),
    };
    let full = usage.quota_bytes.is_some_and(|quota| usage.bytes >= quota).then(|| {
        view! {
            <p>
                <strong>"The project is full: pushes and imports are refused."</strong>
                " Delete images, or ask a site admin for a larger quota."
            </p>
        }
    });
    let form = may_set_quota.then(|| {
        view! {
            <form class="stack" method="post" action=format!("{settings_path}/quota")>
                <TextField
                    name="quota"
                    label="Quota"
                    value=usage.quota_bytes.map(typed).unwrap_or_default()
                    placeholder="50 GB"
                    hint="The most this project may hold, for instance 500 MB or 1.5 GB; empty for no quota. What it holds already stays."
                    autocomplete="off"
                />
                <div class="form-actions">
                    <button class="btn">"Set quota"</button>
                </div>
            </form>
        }
    });
    view! {
        <section class="card stack content-narrow">
            <h2>"Storage"</h2>
            <dl class="facts">
                <dt>"Holds"</dt>
                <dd>{holds}</dd>
                <dt>"Only here"</dt>
                <dd>{size_words(usage.own_bytes)}</dd>
                <dt>"Shared"</dt>
                <dd>{size_words(usage.shared_bytes())}" with other projects"</dd>
            </dl>
            {full}
            {form}
        </section>
    }
    .into_any()
}

/// A number of bytes as a form shows it: in words where these say it exactly, else in bytes, so that saving it again changes nothing.
pub fn typed(bytes: i64) -> String {
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    match units.into_iter().find(|(_, size)| bytes > 0 && bytes % size == 0) {
        Some((unit, size)) => format!("{} {unit}", bytes / size),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ByteSize;

    #[test]
    fn what_is_shown_reads_as_the_same_again() {
        for (bytes, text) in
            [(0, "0 B"), (50_000_000_000, "50 GB"), (1_500_000_000, "1500 MB"), (1_234_567, "1234567 B")]
        {
            assert_eq!(typed(bytes), text);
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        }
        assert_eq!(traffic_words(Traffic { pulls: 1, pushes: 0 }), "1 pull, 0 pushes");
    }
}
