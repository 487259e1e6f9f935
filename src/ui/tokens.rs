//! The tests of `style/tokens.css`: every pair of colours that is used together has the contrast WCAG 2.2 AA asks for, in both
//! themes. A new pair in `style/base.css` belongs in the list here.

use std::collections::BTreeMap;

const TOKENS: &str = include_str!("../../style/tokens.css");
const GROUNDS: [&str; 6] = ["bg", "surface", "raised", "sunken", "hover", "selected"];
const STATES: [&str; 6] = ["ok", "running", "warn", "fail", "held", "muted"];

/// The light and the dark value of every `--name: light-dark(#rrggbb, #rrggbb);`.
fn colours() -> BTreeMap<&'static str, [&'static str; 2]> {
    let lines = TOKENS.lines().filter_map(|line| line.trim().strip_prefix("--")?.split_once(": light-dark("));
    lines
        .filter_map(|(name, values)| Some((name, values.split_once(')')?.0.split_once(", ")?)))
        .map(|(n, (l, d))| (n, [l, d]))
        .collect()
}

fn luminance(hex: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

fn contrast(a: &str, b: &str) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// (foreground, ground, least contrast): 4.5 for text, 3 for what bounds a control, marks a state or shows the focus.
fn pairs() -> Vec<(String, String, f64)> {
    let mut pairs = Vec::new();
    let mut pair = |fg: &str, ground: &str, least: f64| pairs.push((fg.to_owned(), ground.to_owned(), least));
    for ground in GROUNDS {
        ["fg", "muted", "link", "link-hover"].into_iter().for_each(|fg| pair(fg, ground, 4.5));
        ["control", "focus"].into_iter().for_each(|line| pair(line, ground, 3.0));
        STATES.into_iter().for_each(|state| pair(&format!("{state}-mark"), ground, 3.0));
    }
    for state in STATES {
        let fg = format!("{state}-fg");
        [&*format!("{state}-bg"), "log-bg", "surface"].into_iter().for_each(|ground| pair(&fg, ground, 4.5));
        pair(&format!("{state}-mark"), &format!("{state}-bg"), 3.0);
    }
    for action in ["accent", "danger"] {
        pair(&format!("{action}-fg"), action, 4.5);
        pair(&format!("{action}-fg"), &format!("{action}-hover"), 4.5);
        ["bg", "surface", "raised", "hover"].into_iter().for_each(|ground| pair(action, ground, 4.5));
    }
    ["log-fg", "log-no"].into_iter().for_each(|fg| pair(fg, "log-bg", 4.5));
    pairs
}

#[test]
fn every_pair_is_readable_in_both_themes() {
    let colours = colours();
    let mut faults = Vec::new();
    for (fg, ground, least) in pairs() {
        for (theme, name) in ["light", "dark"].into_iter().enumerate() {
            let found = contrast(colours[&*fg][theme], colours[&*ground][theme]);
            if found < least {
                faults.push(format!("{name}: --{fg} on --{ground} is {found:.2}, needs {least}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
