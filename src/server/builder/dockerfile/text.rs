//! The Dockerfile as text, before it is parsed: parser directives, and here-documents out of the parser's way.

use std::ops::Range;

use super::DockerfileError;

/// What the lines at the very top say about the file.
pub struct Directives {
    pub escape: char,
    /// The frontend image of `# syntax=`.
    pub syntax: Option<String>,
}

/// Reads the parser directives; they end at the first line that is none.
pub fn directives(text: &str) -> Directives {
    let mut found = Directives { escape: '\\', syntax: None };
    for line in text.trim_start_matches('\u{feff}').lines() {
        let Some((name, value)) = line.strip_prefix('#').and_then(|rest| rest.split_once('=')) else { break };
        match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("escape", "`") => found.escape = '`',
            ("syntax", value) if !value.is_empty() => found.syntax = Some(value.to_owned()),
            ("escape" | "syntax" | "check", _) => {}
            _ => break,
        }
    }
    found
}

/// The number of the line `position` is on, from 1.
pub fn line_of(text: &str, position: usize) -> usize {
    text.as_bytes()[..position.min(text.len())].iter().filter(|&&b| b == b'\n').count() + 1
}

/// `text` with here-documents turned into comments of the same length, so that every position stays what it was.
///
/// A body may hold anything, lines that look like `FROM` among it; only the instruction that opens it counts.
pub fn without_here_documents(text: &str, escape: char) -> Result<String, DockerfileError> {
    let mut masked = text.as_bytes().to_vec();
    let mut at = 0;
    while at < text.len() {
        let logical = logical_line(text, at, escape);
        at = logical.end;
        if !may_open_here_document(&text[logical.clone()]) {
            continue;
        }
        for opening in openings(text, logical.clone(), escape) {
            masked[opening.arrow.clone()].fill(b'_');
            let body = at;
            at = end_of_body(text, at, &opening).ok_or_else(|| DockerfileError {
                line: line_of(text, opening.arrow.start),
                message: format!("the here-document is not closed: a line with only {} is missing", opening.delimiter),
            })?;
            masked[body..at].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b'#');
        }
    }
    String::from_utf8(masked).map_err(|_| DockerfileError { line: 1, message: "the text is not UTF-8".into() })
}

/// From `start` to the end of the instruction there: over continued lines, and comments and empty lines among them.
fn logical_line(text: &str, start: usize, escape: char) -> Range<usize> {
    let mut end = start;
    let mut continued = false;
    for line in text[start..].split_inclusive('\n') {
        end += line.len();
        let content = line.trim();
        if content.starts_with('#') || (continued && content.is_empty()) {
            if continued {
                continue;
            }
            break;
        }
        continued = content.ends_with(escape);
        if !continued {
            break;
        }
    }
    start..end
}

fn may_open_here_document(line: &str) -> bool {
    let mut words = line.split_whitespace().map(str::to_ascii_uppercase).skip_while(|word| word == "ONBUILD");
    words.next().is_some_and(|word| matches!(word.as_str(), "RUN" | "COPY" | "ADD")) && line.contains("<<")
}

struct Opening {
    /// Where `<<` stands.
    arrow: Range<usize>,
    strip_tabs: bool,
    delimiter: String,
}

/// The words `<<EOF`, `<<-"EOF"`, `3<<EOF` of one instruction, outside quotes and comment lines.
fn openings(text: &str, logical: Range<usize>, escape: char) -> Vec<Opening> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut word_start = true;
    let mut at = logical.start;
    while at < logical.end {
        let rest = &text[at..logical.end];
        let Some(c) = rest.chars().next() else { break };
        let line_start = at == logical.start || text.as_bytes()[at - 1] == b'\n';
        if line_start && rest.trim_start().starts_with('#') {
            at += rest.find('\n').map_or(rest.len(), |end| end + 1);
            word_start = true;
            continue;
        }
        if quote.is_none() && word_start {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if let Some(opening) = opening(&rest[digits..], at + digits) {
                at = opening.arrow.end;
                found.push(opening);
                word_start = false;
                continue;
            }
        }
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            _ => {}
        }
        at += c.len_utf8();
        // The escaped character has no meaning of its own, a line's end apart.
        if c == escape && quote != Some('\'') {
            at += text[at..logical.end].chars().next().filter(|c| !c.is_whitespace()).map_or(0, char::len_utf8);
        }
        word_start = c.is_whitespace();
    }
    found
}

fn opening(rest: &str, at: usize) -> Option<Opening> {
    let after = rest.strip_prefix("<<")?;
    let strip_tabs = after.starts_with('-');
    let word = after.strip_prefix('-').unwrap_or(after);
    let end = word.find(|c: char| c.is_whitespace() || "<>|;&()".contains(c)).unwrap_or(word.len());
    let delimiter: String = word[..end].chars().filter(|c| !"'\"\\".contains(*c)).collect();
    (!delimiter.is_empty()).then_some(Opening { arrow: at..at + 2, strip_tabs, delimiter })
}

/// Where the text after the closing line begins.
fn end_of_body(text: &str, start: usize, opening: &Opening) -> Option<usize> {
    let mut at = start;
    for line in text[start..].split_inclusive('\n') {
        at += line.len();
        let content = line.trim_end_matches(['\n', '\r']);
        let content = if opening.strip_tabs { content.trim_start_matches('\t') } else { content };
        if content == opening.delimiter {
            return Some(at);
        }
    }
    None
}
