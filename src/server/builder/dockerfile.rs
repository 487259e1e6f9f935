//! What images a Dockerfile takes in, and the same Dockerfile with those images pinned to digests.
//!
//! The crate `parse-dockerfile` splits instructions and their flags and knows where each stands. Around it, here:
//! here-documents (it knows only those that open a `RUN`), `ARG` substitution, stage names, and `ONBUILD`, whose
//! instructions run in later builds and so are no input of this one.

mod expand;
mod read;
mod text;

use crate::model::{BuildConfigSpec, BuildInput, InputKind, KnownInputs, NewConfigInput, StrategyFrom, config_inputs};

use super::PinnedInput;
use read::{Mention, Reading};

/// Why a Dockerfile cannot be read: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Dockerfile line {line}: {message}")]
pub struct DockerfileError {
    /// Counted from 1.
    pub line: usize,
    pub message: String,
}

/// The images `dockerfile` takes in, in order of appearance: every mention that is neither a stage nor `scratch`.
pub fn inputs(dockerfile: &str, build_args: &[(String, String)]) -> Result<Vec<BuildInput>, DockerfileError> {
    let reading = Reading::of(dockerfile, build_args, None)?;
    Ok(reading.mentions.into_iter().map(Mention::into_input).collect())
}

/// Like [`inputs`], for a build whose strategy has a `from`: it stands in for the image of the last `FROM`.
pub fn inputs_with_strategy(
    dockerfile: &str,
    build_args: &[(String, String)],
    strategy_from: &str,
) -> Result<Vec<BuildInput>, DockerfileError> {
    let reading = Reading::of(dockerfile, build_args, Some(strategy_from))?;
    Ok(reading.mentions.into_iter().map(Mention::into_input).collect())
}

/// All inputs of a build config of `project` that builds this Dockerfile. `own_hosts` are the names by which it may mean this registry.
pub fn inputs_of_config(
    dockerfile: &str,
    spec: &BuildConfigSpec,
    project: &str,
    own_hosts: &[String],
) -> Result<Vec<NewConfigInput>, DockerfileError> {
    let build_args: Vec<_> = spec.build_args.iter().map(|arg| (arg.name.clone(), arg.value.clone())).collect();
    let found = match &spec.strategy_from {
        Some(StrategyFrom::ImageStreamTag(from) | StrategyFrom::DockerImage(from)) => {
            inputs_with_strategy(dockerfile, &build_args, from)?
        }
        None => inputs(dockerfile, &build_args)?,
    };
    Ok(config_inputs(spec, &found, project, own_hosts))
}

/// What a config's definition tells of its inputs: all of them when the Dockerfile is part of it.
pub fn known_inputs(
    spec: &BuildConfigSpec,
    project: &str,
    own_hosts: &[String],
) -> Result<KnownInputs, DockerfileError> {
    match &spec.source.dockerfile {
        Some(text) => inputs_of_config(text, spec, project, own_hosts).map(KnownInputs::All),
        None => Ok(KnownInputs::Declared(config_inputs(spec, &[], project, own_hosts))),
    }
}

/// The Dockerfile as it is built: each mention of an image in `pinned` replaced by its pull spec, `strategy_from` in
/// the place of the last `FROM`'s image, and `env` set after each `FROM`. All else stays byte for byte, so the line
/// a builder complains about can still be found.
pub fn pin(
    dockerfile: &str,
    build_args: &[(String, String)],
    pinned: &[PinnedInput],
    strategy_from: Option<&PinnedInput>,
    env: &[(String, String)],
) -> Result<String, DockerfileError> {
    let pull_spec =
        |reference: &str| pinned.iter().find(|input| input.reference == reference).map(|input| input.pull_spec.clone());
    pin_with(dockerfile, build_args, &pull_spec, strategy_from, env)
}

/// [`pin`], with `pull_spec` saying what takes the place of a reference, if anything does.
pub fn pin_with(
    dockerfile: &str,
    build_args: &[(String, String)],
    pull_spec: &dyn Fn(&str) -> Option<String>,
    strategy_from: Option<&PinnedInput>,
    env: &[(String, String)],
) -> Result<String, DockerfileError> {
    let reading = Reading::of(dockerfile, build_args, strategy_from.map(|from| from.reference.as_str()))?;
    let mut edits = Vec::new();
    for mention in &reading.mentions {
        let replacement = match (mention.kind, strategy_from) {
            // A frontend image steers BuildKit alone; buildah reads the line as a comment.
            (InputKind::Syntax, _) => continue,
            (InputKind::Strategy, Some(from)) => Some(from.pull_spec.clone()),
            _ => pull_spec(&mention.reference),
        };
        if let Some(replacement) = replacement {
            edits.push((mention.span.clone(), mention.written_as(&replacement)));
        }
    }
    if !env.is_empty() {
        let instruction =
            env_instruction(env, reading.escape).map_err(|message| DockerfileError { line: 1, message })?;
        edits.extend(reading.from_ends.iter().map(|&end| (end..end, format!("\n{instruction}"))));
    }
    edits.sort_by_key(|(span, _)| (span.start, span.end));
    let mut result = reading.text;
    for (span, replacement) in edits.into_iter().rev() {
        result.replace_range(span, &replacement);
    }
    Ok(result)
}

/// The reference that the image as a whole is built on: what the last stage's `FROM` leads to; `None` for `scratch`.
pub fn base(
    dockerfile: &str,
    build_args: &[(String, String)],
    strategy_from: Option<&str>,
) -> Result<Option<String>, DockerfileError> {
    Ok(Reading::of(dockerfile, build_args, strategy_from)?.base)
}

/// `dockerfile` with `instruction` as its last.
pub fn append(dockerfile: &str, instruction: &str) -> String {
    let escape = escape_of(dockerfile);
    // A continuation that leads nowhere would swallow it.
    let text = dockerfile.trim_end();
    format!("{}\n{instruction}\n", text.strip_suffix(escape).unwrap_or(text))
}

/// One `ENV` instruction that sets `env`, each value quoted so that the builder reads it as it is.
pub fn env_instruction(env: &[(String, String)], escape: char) -> Result<String, String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "=\"'\\$`".contains(c);
    for (name, value) in env {
        if name.is_empty() || name.contains(odd) {
            return Err(format!("\"{name}\" is no name for an environment variable: use letters, digits and _"));
        }
        if value.contains(['\n', '\r', '\0']) {
            return Err(format!(
                "the environment variable {name} has a line break, which a Dockerfile cannot carry: put it in a file"
            ));
        }
    }
    let pairs: Vec<String> = env.iter().map(|(name, value)| format!("{name}={}", quoted(value, escape))).collect();
    Ok(format!("ENV {}", pairs.join(" ")))
}

/// One `LABEL` instruction that sets `labels`. A line break, which a Dockerfile cannot carry, becomes a space.
pub fn label_instruction(labels: &[(String, String)], escape: char) -> String {
    let flat = |text: &str| quoted(&text.replace(char::is_control, " "), escape);
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{}={}", flat(name), flat(value))).collect();
    format!("LABEL {}", pairs.join(" "))
}

/// `value` in double quotes, so that a builder reads exactly it.
fn quoted(value: &str, escape: char) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        if c == '"' || c == '$' || c == escape {
            quoted.push(escape);
        }
        quoted.push(c);
    }
    quoted + "\""
}

/// The escape character a Dockerfile chose by its `# escape=` line, `\` otherwise.
pub fn escape_of(dockerfile: &str) -> char {
    text::directives(dockerfile).escape
}

#[cfg(test)]
mod tests;
