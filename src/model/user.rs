//! Users, members of projects, tokens and secrets as the store gives them: never with a password, a hash or a secret's content.

use serde::Serialize;

use super::role::Role;
use super::text_enum::text_enum;

/// Somebody who can sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct User {
    pub id: String,
    pub name: String,
    pub display_name: String,
    /// 1 when they may do everything, everywhere.
    pub site_admin: i64,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    pub disabled_at: Option<i64>,
}

/// A user with a role in a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Member {
    pub user_id: String,
    pub name: String,
    pub display_name: String,
    #[sqlx(try_from = "String")]
    pub role: Role,
    /// Since when, in milliseconds since the epoch.
    pub created_at: i64,
}

text_enum! {
    /// Whom a token speaks for.
    TokenKind {
        /// A user, or a program a user trusts.
        User = "user",
        /// One build.
        Build = "build",
        /// An engine that pulls a project's images.
        Pull = "pull",
    }
}

/// A token, without its text: that is shown once, when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Token {
    pub id: String,
    #[sqlx(try_from = "String")]
    pub kind: TokenKind,
    pub name: String,
    pub user_id: Option<String>,
    /// Name of the user it speaks for.
    pub user: Option<String>,
    /// Limits it to one project.
    pub project_id: Option<String>,
    /// That project's name.
    pub project: Option<String>,
    /// Limits it to what this role may do: one of [`Role`]'s words.
    pub role: Option<String>,
    pub build_id: Option<String>,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    /// Exact to a minute.
    pub last_used_at: Option<i64>,
    pub revoked_at: Option<i64>,
}

impl Token {
    /// The role it is limited to. A word nobody knows limits it to the least.
    pub fn role_limit(&self) -> Option<Role> {
        self.role.as_deref().map(|word| word.parse().unwrap_or(Role::Viewer))
    }
}

text_enum! {
    /// What a project's secret is for.
    SecretKind {
        /// Credentials for a registry.
        Registry = "registry",
        /// User name and password or token, for git over HTTPS.
        BasicAuth = "basic-auth",
        /// A private key, for git over SSH.
        SshAuth = "ssh-auth",
    }
}

/// A secret as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct SecretEntry {
    pub id: String,
    pub name: String,
    #[sqlx(try_from = "String")]
    pub kind: SecretKind,
    pub created_at: i64,
    /// Sequence of the last change.
    pub version: i64,
}
