//! The demo's sources: a git repository with one directory for each image.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// The build configs, base first.
pub(super) const CONFIGS: [&str; 3] = ["httpd-base", "app-a", "app-b"];
/// Those that also run.
pub(super) const APPS: [&str; 2] = ["app-a", "app-b"];

const HTTPD_BASE: &str = "\
FROM base:latest
# Every build gets a version of its own, so that one can see it arrive in the apps.
RUN date -u '+%Y%m%d-%H%M%S' > /etc/httpd-base-version
EXPOSE 80
CMD [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/www\"]
";

const APP: &str = "\
FROM httpd-base:latest
COPY page.html /www/page.html
RUN sed \"s/@VERSION@/$(cat /etc/httpd-base-version)/; s/@BASE@/$(cat /etc/base-version)/\" /www/page.html > /www/index.html
RUN cp /etc/httpd-base-version /www/version
";

/// The Dockerfile of a config.
pub(super) fn dockerfile(config: &str) -> &'static str {
    if config == "httpd-base" { HTTPD_BASE } else { APP }
}

fn page(app: &str, colour: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{app}</title>\n<body style=\"font: 20px/1.5 system-ui; margin: 15vh auto; max-width: 30em; padding: 0 1em; \
         border-left: 8px solid {colour}\">\n<h1>{app}</h1>\n<p>runs on httpd-base <strong>@VERSION@</strong>,<br>which was built on @BASE@.</p>\n"
    )
}

/// Writes the repository, unless it is there.
pub(super) fn write(directory: &Path) -> anyhow::Result<()> {
    if directory.join(".git").exists() {
        return Ok(());
    }
    for config in CONFIGS {
        let context = directory.join(config);
        std::fs::create_dir_all(&context).with_context(|| format!("making {}", context.display()))?;
        std::fs::write(context.join("Dockerfile"), dockerfile(config))?;
    }
    for (app, colour) in [("app-a", "#0d7f5f"), ("app-b", "#7c4ddb")] {
        std::fs::write(directory.join(app).join("page.html"), page(app, colour))?;
    }
    git(directory, &["init", "--quiet", "--initial-branch=main"])?;
    git(directory, &["add", "."])?;
    git(directory, &["commit", "--quiet", "--message", "A base with a web server, and two apps on it"])
}

fn git(directory: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).args([
        "-c",
        "user.name=Weir demo",
        "-c",
        "user.email=demo@localhost",
        "-c",
        "commit.gpgsign=false",
    ]);
    let output = command.args(arguments).output().context("running git: apt-get install git")?;
    if !output.status.success() {
        bail!("git {} failed: {}", arguments[0], String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
