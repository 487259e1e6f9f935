//! Build configs as their authors write them: where the sources are and which images go in.

use serde::{Deserialize, Serialize};

/// A git repository to build from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitSource {
    /// `https://`, `http://`, `ssh://`, `git://`, `file://` or scp-like `git@host:path`.
    pub uri: String,
    /// Branch, tag or commit; absent means the repository's default branch.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Name of the project's secret with the credentials, if the repository needs any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Where a build's context comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The repository; absent for a build of nothing but an inline Dockerfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// An inline Dockerfile; it overrides the repository's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// Directory below the repository's root that is the build's context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_dir: Option<String>,
    /// The Dockerfile's path below the context, `Dockerfile` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile_path: Option<String>,
}

/// The instruction through which an image enters a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum InputKind {
    /// `FROM image`
    #[serde(rename = "FROM")]
    From,
    /// `COPY --from=image`
    #[serde(rename = "COPY --from")]
    CopyFrom,
    /// `ADD --from=image`
    #[serde(rename = "ADD --from")]
    AddFrom,
    /// `RUN --mount=…,from=image`
    #[serde(rename = "mount")]
    Mount,
    /// `# syntax=image`
    #[serde(rename = "syntax")]
    Syntax,
    /// The strategy's `from`, which replaces the last `FROM`.
    #[serde(rename = "strategy")]
    Strategy,
}

impl InputKind {
    /// The kind as the console and the database write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::From => "FROM",
            Self::CopyFrom => "COPY --from",
            Self::AddFrom => "ADD --from",
            Self::Mount => "mount",
            Self::Syntax => "syntax",
            Self::Strategy => "strategy",
        }
    }

    /// The kind written as `text`; unknown text reads as `FROM`.
    pub fn parse(text: &str) -> Self {
        [Self::CopyFrom, Self::AddFrom, Self::Mount, Self::Syntax, Self::Strategy]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .unwrap_or(Self::From)
    }
}

/// An image a Dockerfile takes in: one row for each instruction that names an image which is not a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildInput {
    pub kind: InputKind,
    /// The reference after substitution of `ARG`s, as the Dockerfile means it.
    pub reference: String,
    /// The stage it belongs to: its alias, or its number from 0.
    pub stage: String,
}
