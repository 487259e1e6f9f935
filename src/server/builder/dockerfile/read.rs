//! One pass over a parsed Dockerfile: its stages, its variables, and every place that names an image.

use std::collections::HashMap;
use std::ops::Range;

use parse_dockerfile::{Flag, FromInstruction, Instruction, UnescapedString};

use crate::model::{BuildInput, ImageReference, InputKind};

use super::expand::expand;
use super::{DockerfileError, text};

/// A place that names an image.
pub struct Mention {
    pub kind: InputKind,
    pub reference: String,
    stage: String,
    /// What to replace, in [`Reading::text`].
    pub span: Range<usize>,
    /// What stands before and after the reference within the span: the other options of a `--mount`.
    around: (String, String),
}

impl Mention {
    pub fn into_input(self) -> BuildInput {
        BuildInput { kind: self.kind, reference: self.reference, stage: self.stage }
    }

    /// The text of the span when it is to name `pull_spec`.
    pub fn written_as(&self, pull_spec: &str) -> String {
        format!("{}{pull_spec}{}", self.around.0, self.around.1)
    }
}

/// A Dockerfile, read.
pub struct Reading {
    /// The text that the positions are about: the Dockerfile without a byte order mark.
    pub text: String,
    pub escape: char,
    pub mentions: Vec<Mention>,
    /// Where each `FROM` instruction ends.
    pub from_ends: Vec<usize>,
    /// What the last stage is built on, through stages it names; `None` for `scratch`.
    pub base: Option<String>,
}

type Scope = HashMap<String, String>;

/// The state while instructions are walked.
struct Walk<'a> {
    text: &'a str,
    escape: char,
    build_args: Scope,
    /// `ARG`s before the first `FROM`, and what the platform gives.
    global: Scope,
    /// `ARG`s and `ENV`s of the present stage.
    local: Scope,
    /// All stages' names in lower case, in order; empty for one without.
    names: Vec<String>,
    /// Number of the present stage.
    stage: usize,
    strategy_from: Option<&'a str>,
    mentions: Vec<Mention>,
    from_ends: Vec<usize>,
    /// The image below each stage so far.
    bases: Vec<Option<String>>,
}

impl Reading {
    /// Reads `dockerfile`; `strategy_from` takes the place of the image of the last `FROM`.
    pub fn of(
        dockerfile: &str,
        build_args: &[(String, String)],
        strategy_from: Option<&str>,
    ) -> Result<Self, DockerfileError> {
        let text = dockerfile.strip_prefix('\u{feff}').unwrap_or(dockerfile);
        let directives = text::directives(text);
        let masked = text::without_here_documents(text, directives.escape)?;
        let instructions = parse_dockerfile::parse_iter(&masked)
            .and_then(Iterator::collect::<Result<Vec<Instruction<'_>>, _>>)
            .map_err(|error| unreadable(&error))?;
        let names = instructions
            .iter()
            .filter_map(|instruction| match instruction {
                Instruction::From(from) => {
                    Some(from.as_.as_ref().map_or_else(String::new, |a| a.1.value.to_lowercase()))
                }
                _ => None,
            })
            .collect();
        let mut walk = Walk {
            text,
            escape: directives.escape,
            build_args: build_args.iter().cloned().collect(),
            global: platform(),
            local: Scope::new(),
            names,
            stage: 0,
            strategy_from,
            mentions: Vec::new(),
            from_ends: Vec::new(),
            bases: Vec::new(),
        };
        if let Some(reference) = directives.syntax {
            let around = (String::new(), String::new());
            walk.mentions.push(Mention { kind: InputKind::Syntax, reference, stage: "0".into(), span: 0..0, around });
        }
        for instruction in &instructions {
            walk.instruction(instruction)?;
        }
        let Walk { mentions, from_ends, escape, mut bases, .. } = walk;
        let base = bases.pop().flatten();
        Ok(Self { text: text.to_owned(), escape, mentions, from_ends, base })
    }
}

impl Walk<'_> {
    fn instruction(&mut self, instruction: &Instruction<'_>) -> Result<(), DockerfileError> {
        match instruction {
            Instruction::Arg(arg) => self.declare(&arg.arguments),
            Instruction::Env(env) => self.set(&env.arguments),
            Instruction::From(from) => self.from(from),
            Instruction::Copy(copy) => self.flags(InputKind::CopyFrom, &copy.options),
            Instruction::Add(add) => self.flags(InputKind::AddFrom, &add.options),
            Instruction::Run(run) => run.options.iter().try_for_each(|flag| self.mount(flag)),
            Instruction::Onbuild(onbuild) => match &*onbuild.instruction {
                Instruction::From(_) | Instruction::Maintainer(_) => {
                    Err(self.error(onbuild.onbuild.span.start, "ONBUILD cannot be followed by FROM or MAINTAINER"))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn error(&self, position: usize, message: impl Into<String>) -> DockerfileError {
        DockerfileError { line: text::line_of(self.text, position), message: message.into() }
    }

    fn expand(&self, word: &str, position: usize) -> Result<String, DockerfileError> {
        let lookup = |name: &str| self.local.get(name).or_else(|| self.global.get(name)).cloned();
        expand(word, self.escape, &lookup).map_err(|problem| self.error(position, format!("{word}: {problem}")))
    }

    /// `ARG NAME`, `ARG NAME=default`, several at once: a build argument wins over the default.
    fn declare(&mut self, arguments: &UnescapedString<'_>) -> Result<(), DockerfileError> {
        for word in words(&arguments.value, self.escape) {
            let (name, default) = word.split_once('=').map_or((word.as_str(), None), |(n, d)| (n, Some(d)));
            let value = match (self.build_args.get(name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.expand(default, arguments.span.start)?),
                (None, None) => self.global.get(name).cloned(),
            };
            let scope = if self.from_ends.is_empty() { &mut self.global } else { &mut self.local };
            if let Some(value) = value {
                scope.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    /// `ENV NAME=value …` and the old `ENV NAME value`.
    fn set(&mut self, arguments: &UnescapedString<'_>) -> Result<(), DockerfileError> {
        let list = words(&arguments.value, self.escape);
        let pairs: Vec<(String, String)> = match list.first() {
            Some(first) if !first.contains('=') => {
                let value = arguments.value.trim_start()[first.len()..].trim().to_owned();
                vec![(first.clone(), value)]
            }
            _ => {
                list.iter().filter_map(|word| word.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
            }
        };
        for (name, value) in pairs {
            // A value that cannot be read matters only where a reference uses it; it is empty there.
            let value = self.expand(&value, arguments.span.start).unwrap_or_default();
            self.local.insert(name, value);
        }
        Ok(())
    }

    fn from(&mut self, from: &FromInstruction<'_>) -> Result<(), DockerfileError> {
        self.stage = self.from_ends.len();
        self.local.clear();
        let start = from.from.span.start;
        if let Some((_, name)) = &from.as_
            && !is_stage_name(&name.value)
        {
            return Err(self.error(
                start,
                format!("\"{}\" cannot name a stage: use letters, digits, - _ . and begin with a letter", name.value),
            ));
        }
        let span = from.image.span.clone();
        self.from_ends.push(from.as_.as_ref().map_or(span.end, |(_, name)| name.span.end));
        let plain = (String::new(), String::new());
        if let Some(reference) = self.strategy_from.filter(|_| self.stage + 1 == self.names.len()) {
            self.bases.push(Some(reference.to_owned()));
            self.mention(InputKind::Strategy, reference.to_owned(), span, plain);
            return Ok(());
        }
        let reference = self.expand(&from.image.value, start)?;
        if reference.is_empty() {
            return Err(self.error(
                start,
                format!(
                    "FROM {} names nothing: give the ARG a default before FROM, or pass the build argument",
                    from.image.value
                ),
            ));
        }
        // The nearest stage of that name: a later one may take the name of an earlier.
        let stage = self.names[..self.stage].iter().rposition(|name| *name == reference.to_lowercase());
        match stage {
            Some(stage) => self.bases.push(self.bases[stage].clone()),
            None if reference == "scratch" => self.bases.push(None),
            None => {
                self.bases.push(Some(reference.clone()));
                self.image(InputKind::From, reference, span, plain)?;
            }
        }
        Ok(())
    }

    /// `--from` of `COPY` and `ADD`.
    fn flags(&mut self, kind: InputKind, flags: &[Flag<'_>]) -> Result<(), DockerfileError> {
        for flag in flags.iter().filter(|flag| flag.name.value.eq_ignore_ascii_case("from")) {
            let Some(value) = &flag.value else {
                return Err(self.error(flag.span().start, "--from needs a value: --from=<stage or image>"));
            };
            self.stage_or_image(kind, &value.value, value.span.clone(), (String::new(), String::new()))?;
        }
        Ok(())
    }

    /// `from=` among the options of `RUN --mount=`.
    fn mount(&mut self, flag: &Flag<'_>) -> Result<(), DockerfileError> {
        let (true, Some(value)) = (flag.name.value.eq_ignore_ascii_case("mount"), &flag.value) else { return Ok(()) };
        let raw = value.value.as_ref();
        let mut at = 0;
        for field in raw.split(',') {
            let bare = field.trim_start_matches('"');
            if let Some((key, image)) = bare.split_once('=')
                && key.eq_ignore_ascii_case("from")
            {
                let image = image.trim_end_matches('"');
                let begin = at + field.len() - bare.len() + key.len() + 1 + usize::from(bare[5..].starts_with('"'));
                let image = image.trim_start_matches('"');
                let around = (raw[..begin].to_owned(), raw[begin + image.len()..].to_owned());
                self.stage_or_image(InputKind::Mount, image, value.span.clone(), around)?;
            }
            at += field.len() + 1;
        }
        Ok(())
    }

    /// A `from` that may be a stage's number, a stage's name or an image.
    fn stage_or_image(
        &mut self,
        kind: InputKind,
        word: &str,
        span: Range<usize>,
        around: (String, String),
    ) -> Result<(), DockerfileError> {
        let position = span.start;
        let reference = self.expand(word, position)?;
        if reference.is_empty() {
            return Err(
                self.error(position, format!("{} {word} names nothing: write the stage or the image", kind.as_str()))
            );
        }
        let number = reference.parse::<usize>().ok();
        let named = self.names.iter().position(|name| *name == reference.to_lowercase());
        match number.or(named) {
            Some(stage) if stage < self.stage => Ok(()),
            Some(_) => Err(self.error(
                position,
                format!(
                    "{} {reference} is not a stage above this one: move that stage up, or correct the name",
                    kind.as_str()
                ),
            )),
            None if reference == "scratch" => Ok(()),
            None => self.image(kind, reference, span, around),
        }
    }

    /// An image by reference. What is no reference is refused here: buildah would take `dir:/etc` for a transport.
    fn image(
        &mut self,
        kind: InputKind,
        reference: String,
        span: Range<usize>,
        around: (String, String),
    ) -> Result<(), DockerfileError> {
        if ImageReference::of_engine(&reference).is_err() {
            return Err(self.error(
                span.start,
                format!("\"{reference}\" is no image reference: write [registry/]name[:tag][@digest], in lower case"),
            ));
        }
        self.mention(kind, reference, span, around);
        Ok(())
    }

    fn mention(&mut self, kind: InputKind, reference: String, span: Range<usize>, around: (String, String)) {
        let name = &self.names[self.stage];
        let stage = if name.is_empty() { self.stage.to_string() } else { name.clone() };
        self.mentions.push(Mention { kind, reference, stage, span, around });
    }
}

fn unreadable(error: &parse_dockerfile::Error) -> DockerfileError {
    let message = match format!("{error:#}") {
        text if text.contains("at least one FROM") => "there is no FROM: begin with FROM <image>".to_owned(),
        text if text == "expected FROM" => {
            "only ARG may stand before the first FROM: begin with FROM <image>".to_owned()
        }
        text => text,
    };
    DockerfileError { line: error.line().max(1), message }
}

fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// The variables a builder sets by itself; builds run for the server's own platform.
fn platform() -> Scope {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut scope = Scope::new();
    for side in ["TARGET", "BUILD"] {
        scope.insert(format!("{side}PLATFORM"), format!("linux/{architecture}"));
        scope.insert(format!("{side}OS"), "linux".into());
        scope.insert(format!("{side}ARCH"), architecture.into());
        scope.insert(format!("{side}VARIANT"), String::new());
    }
    scope
}

/// Splits at white space outside quotes; quotes and escapes stay for [`expand`].
fn words(text: &str, escape: char) -> Vec<String> {
    let mut list = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c.is_whitespace() && quote.is_none() {
            if !word.is_empty() {
                list.push(std::mem::take(&mut word));
            }
            continue;
        }
        word.push(c);
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            _ if c == escape && quote != Some('\'') => word.extend(chars.next()),
            _ => {}
        }
    }
    if !word.is_empty() {
        list.push(word);
    }
    list
}
