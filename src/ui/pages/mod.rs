//! One file per page: the function that reads the store and lays the page out, and beside it what its forms post to.

pub mod activity;
pub mod app;
pub mod app_form;
mod app_parts;
pub mod app_rollback;
pub mod apps;
pub mod build;
pub mod build_form;
mod build_parts;
pub mod builds;
pub mod cascade;
mod cascade_steps;
pub mod cascades;
pub mod compare;
mod compare_parts;
pub mod cool_down;
pub mod freezes;
pub mod graph;
mod graph_parts;
mod history;
pub mod hold_end;
pub mod image;
mod image_inside;
mod image_parts;
mod images_whole;
pub mod import_rule_form;
mod import_rule_trial;
pub mod import_rules;
pub mod imports;
mod limits;
pub mod look;
pub mod notice;
pub mod notices;
pub mod overview;
pub mod packages;
mod past;
mod past_app;
mod past_apps;
mod past_build;
mod past_builds;
mod past_cascades;
mod past_freezes;
mod past_image;
mod past_overview;
mod past_run;
mod past_stream;
mod past_tag;
mod past_users;
pub mod projects;
pub mod registries;
pub mod registry_hook;
mod registry_logins;
mod resolution;
mod retention;
pub mod run;
mod run_log;
pub mod search;
pub mod settings;
mod sight;
pub mod sign_in;
mod standing;
pub mod stream;
pub mod stream_settings;
pub mod streams;
pub mod streams_new;
pub mod tag;
pub mod tag_add;
mod tag_forms;
pub mod tag_rejected;
pub mod tag_rollback;
pub mod tag_rules;
mod tag_trial;
pub mod tag_users;
pub mod tags_deleted;
pub mod tokens;
mod usage;

use super::app::PageResult;
use super::context::Cx;
use super::error::UiError;

/// Any path that no route knows.
pub async fn not_found(cx: Cx) -> PageResult {
    cx.viewer()?;
    Err(UiError::NotFound { what: format!("The page {}", cx.path()) })
}
