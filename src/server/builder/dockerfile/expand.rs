//! Substitution of `ARG`s and removal of quotes in a word, as Docker's builders do it.

/// `word` with its variables replaced through `lookup`, its quotes and escapes removed.
///
/// Knows `$X`, `${X}`, and the operators `:-`, `-`, `:+`, `+`, `:?`, `?`. An unset variable is empty.
pub fn expand(word: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let chars: Vec<char> = word.chars().collect();
    let mut expander = Expander { chars: &chars, at: 0, escape, lookup };
    expander.until(None)
}

struct Expander<'a> {
    chars: &'a [char],
    at: usize,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Expander<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied();
        self.at += 1;
        c
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// Everything up to `end`, or up to the end of the word when there is none.
    fn until(&mut self, end: Option<char>) -> Result<String, String> {
        let mut result = String::new();
        let mut quoted = false;
        while let Some(c) = self.next() {
            match c {
                _ if Some(c) == end && !quoted => return Ok(result),
                '\'' if !quoted => loop {
                    match self.next() {
                        Some('\'') => break,
                        Some(c) => result.push(c),
                        None => return Err("a ' is not closed".into()),
                    }
                },
                '"' => quoted = !quoted,
                '$' => result.push_str(&self.variable()?),
                _ if c == self.escape => match self.next() {
                    // Inside double quotes the escape counts only before what it can protect.
                    Some(next) if quoted && !(next == '"' || next == '$' || next == self.escape) => {
                        result.extend([c, next]);
                    }
                    Some(next) => result.push(next),
                    None => result.push(c),
                },
                _ => result.push(c),
            }
        }
        match (quoted, end) {
            (true, _) => Err("a \" is not closed".into()),
            (_, Some(end)) => Err(format!("a {end} is missing")),
            _ => Ok(result),
        }
    }

    /// What stands for the variable whose `$` was just read.
    fn variable(&mut self) -> Result<String, String> {
        let braced = self.peek() == Some('{');
        if braced {
            self.at += 1;
        }
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
            self.at += 1;
        }
        if !braced {
            return Ok(if name.is_empty() { "$".into() } else { (self.lookup)(&name).unwrap_or_default() });
        }
        if name.is_empty() {
            return Err("${ must be followed by a name".into());
        }
        self.operator(&name)
    }

    /// The rest of `${name…}`.
    fn operator(&mut self, name: &str) -> Result<String, String> {
        let mut value = (self.lookup)(name);
        let mut operator = self.next();
        if operator == Some(':') {
            value = value.filter(|value| !value.is_empty());
            operator = self.next().filter(|c| "-+?".contains(*c));
        }
        match operator {
            Some('}') => Ok(value.unwrap_or_default()),
            Some('-') => self.until(Some('}')).map(|default| value.unwrap_or(default)),
            Some('+') => self.until(Some('}')).map(|alternative| value.map(|_| alternative).unwrap_or_default()),
            Some('?') => {
                let message = self.until(Some('}'))?;
                value.ok_or_else(|| format!("{name} is not set: {message}"))
            }
            _ => Err(format!("this form of ${{{name}…}} is not supported: use ${{{name}}} or ${{{name}:-default}}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn with(word: &str) -> Result<String, String> {
        expand(word, '\\', &|name| match name {
            "A" => Some("a".into()),
            "B" => Some("b/c".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn substitutes_as_docker_does() {
        for (word, expected) in [
            ("plain", "plain"),
            ("$A", "a"),
            ("${A}", "a"),
            ("x${A}y$B-z", "xayb/c-z"),
            ("$NONE", ""),
            ("${NONE:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${NONE-d}", "d"),
            ("${A:-d}", "a"),
            ("${A:+alt}", "alt"),
            ("${NONE:+alt}", ""),
            ("${EMPTY:+alt}", ""),
            ("${EMPTY+alt}", "alt"),
            ("${NONE:-${B:-${A}}}", "b/c"),
            ("${A:?needed}", "a"),
            ("\"$A\"", "a"),
            ("'$A'", "$A"),
            ("\\$A", "$A"),
            ("\"\\$A\\n\"", "$A\\n"),
            ("a$", "a$"),
        ] {
            assert_eq!(with(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for word in ["${A", "${}", "\"a", "'a", "${A#x}", "${NONE:?give it}", "${A:x}"] {
            assert!(with(word).is_err(), "{word}");
        }
    }
}
