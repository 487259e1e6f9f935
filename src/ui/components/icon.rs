//! The icons: strokes on a 24 × 24 grid, always beside a word.

use leptos::prelude::*;

/// An icon by name; it says nothing to a screen reader, the word beside it does. An unknown name draws a dot.
#[component]
pub fn Icon(name: &'static str) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
            <path d=strokes(name) />
        </svg>
    }
}

fn strokes(name: &str) -> &'static str {
    match name {
        "overview" => "M4 4h7v9H4zM13 4h7v5h-7zM13 11h7v9h-7zM4 15h7v5H4z",
        "stream" => "M3 7c3-3 6 3 9 0s6 3 9 0M3 12c3-3 6 3 9 0s6 3 9 0M3 17c3-3 6 3 9 0s6 3 9 0",
        "build" => "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5",
        "app" => "M4 5h16v6H4zM4 13h16v6H4zM7 8h.01M7 16h.01",
        "graph" => "M4 6h6v4H4zM14 3h6v4h-6zM14 16h6v4h-6zM10 8h2v10h2M12 8V5h2",
        "cascade" => "M4 4h6v5H4zM14 15h6v5h-6zM7 9v8.5h7M4 4",
        "import" | "schedule" => "M12 3v11m-4-4l4 4 4-4M4 17v3h16v-3",
        "activity" => "M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01",
        "settings" => "M4 7h10M18 7h2M14 5v4M4 17h2M10 17h10M8 15v4",
        "person" => "M12 12a4 4 0 100-8 4 4 0 000 8zM4 20c1-4 4-5 8-5s7 1 8 5",
        "robot" => "M5 9h14v10H5zM12 9V5M9 13h.01M15 13h.01M9 16h6",
        "webhook" => "M7 17a4 4 0 112-7l3-5M17 13a4 4 0 11-3 6H8M12 5a4 4 0 115 5l3 4",
        "system" => "M12 8a4 4 0 100 8 4 4 0 000-8zM12 2v3M12 19v3M2 12h3M19 12h3",
        "push" => "M12 21V10m-4 4l4-4 4 4M4 7V4h16v3",
        "rollback" => "M9 14L4 9l5-5M4 9h10a6 6 0 010 12h-3",
        "restore" => "M15 14l5-5-5-5M20 9H10a6 6 0 000 12h3",
        "follow" => "M9 15l6-6M10 6l2-2a4 4 0 016 6l-2 2M14 18l-2 2a4 4 0 01-6-6l2-2",
        "api" => "M8 7l-5 5 5 5M16 7l5 5-5 5",
        "skip" => "M5 5l14 14M12 3a9 9 0 100 18 9 9 0 000-18z",
        "delete" => "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
        "menu" => "M4 6h16M4 12h16M4 18h16",
        "search" => "M10 4a6 6 0 100 12 6 6 0 000-12zM15 15l5 5",
        "lock" => "M6 11h12v9H6zM8 11V8a4 4 0 018 0v3",
        _ => "M12 12h.01",
    }
}
