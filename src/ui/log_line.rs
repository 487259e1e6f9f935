//! One line of a build's log as HTML: its number as a link, its text escaped, its terminal colours as classes that both themes
//! know. The server writes the page's lines with it and the log island those that follow.

use std::fmt::Write;

/// The HTML of line `number`: `<div class="log-line">` with the anchor `L<number>`.
pub fn log_line_html(number: i64, text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 96);
    // Writing to a String cannot fail.
    let _ = write!(
        html,
        r##"<div class="log-line"><a class="log-no" id="L{number}" href="#L{number}">{number}</a><span class="log-text">"##
    );
    push_coloured(&mut html, text);
    html.push_str("</span></div>");
    html
}

/// Splits at the terminal's escape sequences: colours become spans, all other sequences vanish.
fn push_coloured(html: &mut String, text: &str) {
    let mut style = Style::default();
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        push_span(html, style, &rest[..at]);
        rest = &rest[at + 1..];
        let Some(sequence) = rest.strip_prefix('[') else { continue };
        let end = sequence.find(|c: char| ('\u{40}'..='\u{7e}').contains(&c)).unwrap_or(sequence.len());
        if sequence[end..].starts_with('m') {
            style.apply(&sequence[..end]);
        }
        rest = sequence.get(end + 1..).unwrap_or_default();
    }
    push_span(html, style, rest);
}

fn push_span(html: &mut String, style: Style, text: &str) {
    if text.is_empty() {
        return;
    }
    let class = style.class();
    if !class.is_empty() {
        let _ = write!(html, r#"<span class="{class}">"#);
    }
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            // A carriage return redraws a progress line; what it leaves is one line after another.
            '\r' => html.push('\n'),
            '\t' | '\n' => html.push(c),
            c if c.is_control() => {}
            c => html.push(c),
        }
    }
    if !class.is_empty() {
        html.push_str("</span>");
    }
}

/// What a terminal would show the text in, as far as it tells something: weight and one of six hues.
#[derive(Clone, Copy, Default)]
struct Style {
    bold: bool,
    hue: &'static str,
}

impl Style {
    /// Takes the numbers of a `ESC [ … m` sequence.
    fn apply(&mut self, numbers: &str) {
        let mut codes = numbers.split(';').map(|code| code.parse::<u8>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                22 => self.bold = false,
                31 | 91 => self.hue = "ansi-red",
                32 | 92 => self.hue = "ansi-green",
                33 | 93 => self.hue = "ansi-yellow",
                34 | 94 => self.hue = "ansi-blue",
                35 | 95 => self.hue = "ansi-magenta",
                36 | 96 => self.hue = "ansi-cyan",
                90 => self.hue = "ansi-dim",
                30 | 37 | 39 | 97 => self.hue = "",
                // 256 and true colours: their parameters must not be taken for codes.
                38 | 48 => {
                    let skip = if codes.next() == Some(5) { 1 } else { 3 };
                    for _ in 0..skip {
                        codes.next();
                    }
                }
                _ => {}
            }
        }
    }

    fn class(self) -> String {
        match (self.bold, self.hue) {
            (false, hue) => hue.to_owned(),
            (true, "") => "ansi-bold".to_owned(),
            (true, hue) => format!("ansi-bold {hue}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> String {
        let html = log_line_html(7, line);
        let text = html.strip_prefix(
            r##"<div class="log-line"><a class="log-no" id="L7" href="#L7">7</a><span class="log-text">"##,
        );
        text.and_then(|text| text.strip_suffix("</span></div>")).unwrap().to_owned()
    }

    #[test]
    fn escapes_what_a_build_prints() {
        assert_eq!(text("<script>alert(1)</script> & \"x\""), "&lt;script&gt;alert(1)&lt;/script&gt; &amp; \"x\"");
        assert_eq!(text("a\u{0}b\u{7}c\td"), "abc\td");
        assert_eq!(text("10%\r20%"), "10%\n20%");
        assert_eq!(text(""), "");
    }

    #[test]
    fn turns_colours_into_classes() {
        assert_eq!(text("\u{1b}[1;31mbad\u{1b}[0m ok"), r#"<span class="ansi-bold ansi-red">bad</span> ok"#);
        assert_eq!(text("\u{1b}[32m<ok>\u{1b}[39m."), r#"<span class="ansi-green">&lt;ok&gt;</span>."#);
        assert_eq!(text("\u{1b}[38;5;31mx\u{1b}[38;2;31;32;33my"), "xy");
    }

    #[test]
    fn drops_other_sequences_and_torn_ones() {
        assert_eq!(text("\u{1b}[2Ka\u{1b}[1Gb"), "ab");
        assert_eq!(text("a\u{1b}[31"), "a");
        assert_eq!(text("a\u{1b}"), "a");
        assert_eq!(text("\u{1b}[\u{e9}x"), "");
    }
}
