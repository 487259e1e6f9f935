//! What images a Dockerfile takes in, and the same Dockerfile with those images pinned to digests.
//!
//! The crate `parse-dockerfile` splits instructions and their flags and knows where each stands. Around it, here:
//! here-documents (it knows only those that open a `RUN`), `ARG` substitution, stage names, and `ONBUILD`, whose
//! instructions run in later builds and so are no input of this one.

mod expand;
mod read;
mod text;

use crate::model::{BuildInput, InputKind};

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
    let reading = Reading::of(dockerfile, build_args, strategy_from.map(|from| from.reference.as_str()))?;
    let mut edits = Vec::new();
    for mention in &reading.mentions {
        let pull_spec = match (mention.kind, strategy_from) {
            // A frontend image steers BuildKit alone; buildah reads the line as a comment.
            (InputKind::Syntax, _) => continue,
            (InputKind::Strategy, Some(from)) => Some(from.pull_spec.as_str()),
            _ => pinned.iter().find(|input| input.reference == mention.reference).map(|i| i.pull_spec.as_str()),
        };
        if let Some(pull_spec) = pull_spec {
            edits.push((mention.span.clone(), mention.written_as(pull_spec)));
        }
    }
    if !env.is_empty() {
        let instruction =
            env_instruction(env, reading.escape).map_err(|message| DockerfileError { line: 1, message })?;
        edits.extend(reading.from_ends.iter().map(|&end| (end..end, format!("\n{instruction}"))));
    }
    edits.sort_by_key(|(span, _)| (span.start, span.end));
    let mut result = reading.text.clone();
    for (span, replacement) in edits.into_iter().rev() {
        result.replace_range(span, &replacement);
    }
    Ok(result)
}

/// One `ENV` instruction that sets `env`, each value quoted so that the builder reads it as it is.
pub fn env_instruction(env: &[(String, String)], escape: char) -> Result<String, String> {
    let mut instruction = String::from("ENV");
    for (name, value) in env {
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || "=\"'\\$`".contains(c)) {
            return Err(format!("\"{name}\" is no name for an environment variable: use letters, digits and _"));
        }
        if value.contains(['\n', '\r', '\0']) {
            return Err(format!(
                "the environment variable {name} has a line break, which a Dockerfile cannot carry: put it in a file"
            ));
        }
        instruction.push_str(&format!(" {name}=\""));
        for c in value.chars() {
            if c == '"' || c == '$' || c == escape {
                instruction.push(escape);
            }
            instruction.push(c);
        }
        instruction.push('"');
    }
    Ok(instruction)
}

/// The escape character a Dockerfile chose by its `# escape=` line, `\` otherwise.
pub fn escape_of(dockerfile: &str) -> char {
    text::directives(dockerfile).escape
}

#[cfg(test)]
mod tests;
