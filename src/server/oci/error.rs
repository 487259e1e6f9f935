//! Why another registry did not give what it was asked for, told apart so that people know what to do.

use std::time::Duration;

use super::limits::minutes;

/// What went wrong with another registry. The text is for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the container image \"{reference}\" was not found: check its name and tag")]
    NotFound { reference: String },
    #[error("you may not have access to the container image \"{reference}\"")]
    Denied { reference: String },
    #[error("incorrect username or password for image \"{reference}\"")]
    WrongPassword { reference: String },
    #[error("the repository {repository} is HTTP only and requires the insecure flag to import")]
    PlainHttp { repository: String },
    /// `abuse`: the registry turned away the sheer rate of requests. Otherwise an allowance of pulls is used up.
    #[error("{}", rate_limited(registry, *retry_after, *abuse))]
    RateLimited { registry: String, retry_after: Option<Duration>, abuse: bool },
    #[error("registry {registry} did not answer in time")]
    Timeout { registry: String },
    /// `least`: bytes a second that would have been enough.
    #[error(
        "registry {registry} sent less than {least} bytes a second for {}, so the transfer was ended; it begins anew when it is asked for again",
        minutes(*window)
    )]
    TooSlow { registry: String, window: Duration, least: u64 },
    #[error(
        "the certificate of registry {registry} was not accepted: {detail}; name the certificate of its CA with --upstream-ca, install it on this machine, or set the insecure flag"
    )]
    Tls { registry: String, detail: String },
    #[error("content integrity error: {detail}")]
    Integrity { detail: String },
    #[error("registry {registry} cannot be reached: {detail}")]
    Unreachable { registry: String, detail: String },
    /// `retry_after`: it said for how long it is not to be had (RFC 9110, 10.2.3).
    #[error("registry {registry} has trouble of its own: it answered {status}{}", left_alone(*retry_after))]
    Upstream { registry: String, status: u16, retry_after: Option<Duration> },
    #[error(
        "endpoint \"{registry}\" does not support v2 API: Weir imports from registries that speak version 2 of the protocol; check the address, \
         or push the image to this registry"
    )]
    NotV2 { registry: String },
    #[error("Internal error occurred: {reference}: {detail}")]
    Other { reference: String, detail: String },
}

impl Error {
    /// One word for rows, filters and metrics; never changes.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not-found",
            Self::Denied { .. } => "denied",
            Self::WrongPassword { .. } => "wrong-password",
            Self::PlainHttp { .. } => "plain-http",
            Self::RateLimited { abuse: false, .. } => "rate-limit",
            Self::RateLimited { abuse: true, .. } => "abuse-limit",
            Self::Timeout { .. } => "timeout",
            Self::TooSlow { .. } => "too-slow",
            Self::Tls { .. } => "tls",
            Self::Integrity { .. } => "integrity",
            Self::Unreachable { .. } => "unreachable",
            Self::Upstream { .. } => "upstream",
            Self::NotV2 { .. } => "not-v2-registry",
            Self::Other { .. } => "other",
        }
    }

    /// Whether the same question may be answered later without anyone changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Timeout { .. }
                | Self::TooSlow { .. }
                | Self::Unreachable { .. }
                | Self::Upstream { .. }
        )
    }

    /// How long the registry asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Upstream { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// For how long nothing is asked, where that is known.
fn left_alone(wait: Option<Duration>) -> String {
    wait.map(|wait| format!("; Weir asks it nothing more for {}", minutes(wait))).unwrap_or_default()
}

fn rate_limited(registry: &str, retry_after: Option<Duration>, abuse: bool) -> String {
    let when = retry_after.map(|wait| format!(" for {}", minutes(wait))).unwrap_or_default();
    match abuse {
        true => format!(
            "registry {registry} turned this address away for asking too often; Weir asks it nothing more{when} and then goes on more slowly"
        ),
        false => format!(
            "the pull limit of registry {registry} is used up; Weir asks it nothing more{when}. Credentials of an account with a higher limit help"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_apart_in_words() {
        let limited = |abuse| {
            let retry_after = Some(Duration::from_secs(120));
            Error::RateLimited { registry: "docker.io".into(), retry_after, abuse }
        };
        assert_eq!(
            limited(false).to_string(),
            "the pull limit of registry docker.io is used up; Weir asks it nothing more for 2 min. Credentials of an account with a higher limit help"
        );
        assert_eq!(
            limited(true).to_string(),
            "registry docker.io turned this address away for asking too often; Weir asks it nothing more for 2 min and then goes on more slowly"
        );
        assert_ne!(limited(true).reason(), limited(false).reason());
    }
}
