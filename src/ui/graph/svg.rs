//! A picture as SVG: shapes by kind, outlines by state, every node a link, everything also in words.

use std::fmt::Write as _;

use super::layout::{Layout, Size, layout};
use super::{Edge, Kind, Node, Picture};

/// Room around the drawing, for badges and focus rings.
const MARGIN: i64 = 14;
const HEIGHT: i64 = 48;
/// With more edges than this, labels would only hide each other; each edge's title still says it.
const MOST_LABELS: usize = 60;
/// A drawing up to this wide is fitted into its frame.
const MOST_SHRUNK: i64 = 1450;
/// The longest name that is drawn whole.
const LONGEST: usize = 28;

/// How the picture is drawn.
pub struct Drawing<'a> {
    /// What it shows, for those who do not see it.
    pub title: &'a str,
    /// Key of the node that is chosen.
    pub selected: &'a str,
    /// Where a node leads.
    pub link: &'a dyn Fn(&Node) -> String,
    /// As wide as there is room, instead of in its own size.
    pub fit: bool,
    /// Edges along which something has flowed.
    pub passed: &'a dyn Fn(&Edge) -> bool,
}

/// The picture as an `<svg>`. The same picture gives the same text.
pub fn svg(picture: &Picture, drawing: &Drawing<'_>) -> String {
    let sizes: Vec<Size> = picture.nodes.iter().map(size).collect();
    let pairs: Vec<_> = picture.edges.iter().map(|edge| (edge.from, edge.to)).collect();
    let layout = layout(&sizes, &pairs);
    let (width, height) = (layout.width + 2 * MARGIN, layout.height + 2 * MARGIN);
    let mut svg = String::with_capacity(picture.nodes.len() * 600);
    // A little too wide is made smaller; a lot too wide is better scrolled than not to be read.
    let class = if !drawing.fit && width <= MOST_SHRUNK { "graph graph-fit" } else { "graph" };
    let own_size =
        if drawing.fit { r#"width="100%""#.to_owned() } else { format!(r#"width="{width}" height="{height}""#) };
    // Writing to a String cannot fail.
    let _ = write!(
        svg,
        r#"<svg class="{class}" {own_size} viewBox="-{MARGIN} -{MARGIN} {width} {height}" role="group" aria-label="{}">"#,
        escape(drawing.title)
    );
    for (edge, route) in picture.edges.iter().zip(&layout.routes) {
        write_edge(&mut svg, picture, edge, route, (drawing.passed)(edge));
    }
    if picture.edges.len() <= MOST_LABELS {
        for (edge, route) in picture.edges.iter().zip(&layout.routes) {
            write_label(&mut svg, edge, route);
        }
    }
    write_nodes(&mut svg, picture, &layout, &sizes, drawing);
    svg.push_str("</svg>");
    svg
}

fn write_nodes(svg: &mut String, picture: &Picture, layout: &Layout, sizes: &[Size], drawing: &Drawing<'_>) {
    for ((node, spot), size) in picture.nodes.iter().zip(&layout.spots).zip(sizes) {
        let selected = if node.key == drawing.selected { " is-selected" } else { "" };
        let said = format!("{} {}: {}", node.kind.word(), node.name, said(node));
        let _ = write!(
            svg,
            r#"<a href="{}" aria-label="{}"{}><g class="node node-{}{}{selected}" data-live="{}" transform="translate({} {})">"#,
            escape(&(drawing.link)(node)),
            escape(&said),
            if selected.is_empty() { "" } else { r#" aria-current="true""# },
            class(node),
            state_class(node),
            escape(&node.key),
            spot.x,
            spot.y,
        );
        svg.push_str(&shape(node.kind, *size));
        let middle = size.width / 2;
        let _ = write!(
            svg,
            r#"<title>{}</title><text class="node-name" x="{middle}" y="20" text-anchor="middle">{}</text><text class="node-sub" x="{middle}" y="37" text-anchor="middle">{}</text>"#,
            escape(&said),
            escape(&shortened(&node.name)),
            escape(&shortened(&node.sub)),
        );
        if let Some(wave) = node.wave {
            let _ = write!(
                svg,
                r#"<g><circle class="wave" cx="2" cy="2" r="11"/><text class="wave-text" x="2" y="6" text-anchor="middle">{wave}</text></g>"#
            );
        }
        svg.push_str("</g></a>");
    }
}

/// What is said of a node beside its name; the wave too, which else only the badge tells.
fn said(node: &Node) -> String {
    match node.wave {
        Some(wave) => format!("{}, reached in step {wave}", node.sub),
        None => node.sub.clone(),
    }
}

fn class(node: &Node) -> &'static str {
    match node.kind {
        Kind::External => "external",
        Kind::Tag => "tag",
        Kind::Build => "build",
        Kind::App => "app",
        Kind::Group => "group",
    }
}

fn state_class(node: &Node) -> &'static str {
    use super::State;
    match node.state {
        State::Plain => "",
        State::Ok => " is-ok",
        State::Running => " is-running",
        State::Warn => " is-warn",
        State::Held => " is-held",
        State::Fail => " is-fail",
    }
}

/// As wide as its text needs. Letters are counted at their usual width: no font is at hand here.
fn size(node: &Node) -> Size {
    let letters = |text: &str, tenths: i64| i64::try_from(shortened(text).chars().count()).unwrap_or(0) * tenths / 10;
    let text = letters(&node.name, 76).max(letters(&node.sub, 64));
    let sides = match node.kind {
        Kind::Build => 52,
        Kind::External => 44,
        _ => 32,
    };
    Size { width: (text + sides).max(104) / 2 * 2, height: HEIGHT }
}

/// Cloud, rounded box, hexagon, square; a pile for a group.
fn shape(kind: Kind, Size { width, height }: Size) -> String {
    match kind {
        Kind::External => cloud(width, height),
        Kind::Tag => format!(r#"<rect width="{width}" height="{height}" rx="12"/>"#),
        Kind::Build => {
            let (near, far, middle) = (14, width - 14, height / 2);
            format!(
                r#"<polygon points="{near},0 {far},0 {width},{middle} {far},{height} {near},{height} 0,{middle}"/>"#
            )
        }
        Kind::App => format!(r#"<rect width="{width}" height="{height}"/>"#),
        Kind::Group => format!(
            r#"<rect width="{width}" height="{height}" rx="4"/><path d="M5 {0}v4h{1}v-{2}h-4" fill="none"/>"#,
            height,
            width - 1,
            height - 1
        ),
    }
}

/// A box whose top is a row of arcs.
fn cloud(width: i64, height: i64) -> String {
    let inner = width - 24;
    let bumps = (inner / 34).max(2);
    let mut path = format!("M12 {height}A14 {} 0 0 1 12 10", height / 2);
    for bump in 1..=bumps {
        let _ = write!(path, "A{} 10 0 0 1 {} 10", inner / bumps / 2 + 1, 12 + inner * bump / bumps);
    }
    let _ = write!(path, "A14 {} 0 0 1 {} {height}Z", height / 2, width - 12);
    format!(r#"<path d="{path}"/>"#)
}

fn write_edge(svg: &mut String, picture: &Picture, edge: &Edge, route: &[(i64, i64)], passed: bool) {
    let classes = format!("edge{}{}", if edge.on { "" } else { " edge-off" }, if passed { " is-passed" } else { "" });
    let mut path = String::new();
    for (index, pair) in route.windows(2).enumerate() {
        let [(x, y), (to_x, to_y)] = [pair[0], pair[1]];
        if index == 0 {
            let _ = write!(path, "M{x} {y}");
        }
        // The tip of the arrow covers the end.
        let end = if index + 2 == route.len() { to_x - 5 } else { to_x };
        if index % 2 == 1 {
            let _ = write!(path, "H{end}");
        } else {
            let half = i64::midpoint(x, end);
            let _ = write!(path, "C{half} {y} {half} {to_y} {end} {to_y}");
        }
    }
    let (x, y) = route.last().copied().unwrap_or_default();
    let _ = write!(
        svg,
        r#"<g><title>{}</title><path class="{classes}" d="{path}"/><path class="arrow" d="M{x} {y}l-8 -4.5v9z"/></g>"#,
        escape(&edge_words(picture, edge))
    );
}

/// An edge in words.
fn edge_words(picture: &Picture, edge: &Edge) -> String {
    let (from, to) = (&picture.nodes[edge.from].name, &picture.nodes[edge.to].name);
    let off = if edge.on { "" } else { ", trigger off" };
    let behind = if edge.behind { ", newest not in use yet" } else { "" };
    format!("{from} → {to}: {}{off}{behind}", edge.label)
}

/// On the middle of the edge's last bend. That a build builds and an app deploys goes without saying.
fn write_label(svg: &mut String, edge: &Edge, route: &[(i64, i64)]) {
    let [.., (x, y), (to_x, to_y)] = *route else { return };
    if edge.label == "builds" || edge.label == "deploys" {
        return;
    }
    let (x, y) = (i64::midpoint(x, to_x), i64::midpoint(y, to_y) + 4);
    let label = if edge.label.chars().count() > 14 {
        format!("{}…", edge.label.chars().take(13).collect::<String>())
    } else {
        edge.label.clone()
    };
    let _ = write!(
        svg,
        r#"<text class="edge-label" x="{x}" y="{y}" text-anchor="middle" aria-hidden="true">{}</text>"#,
        escape(&label)
    );
}

/// Long names lose their middle: what tells names apart stands at either end.
fn shortened(name: &str) -> String {
    let count = name.chars().count();
    if count <= LONGEST {
        return name.to_owned();
    }
    let head: String = name.chars().take(LONGEST / 2).collect();
    let tail: String = name.chars().skip(count - LONGEST / 2 + 1).collect();
    format!("{head}…{tail}")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::testing::{diamond, fan};

    fn draw(picture: &Picture) -> String {
        let link = |node: &Node| format!("?node={}", node.key);
        let drawing = Drawing { title: "p", selected: "build:z", link: &link, fit: false, passed: &|_| false };
        svg(picture, &drawing)
    }

    #[test]
    fn draws_a_diamond() {
        let picture = Picture::of(&diamond(), "p");
        assert_eq!(draw(&picture), draw(&picture));
        insta::assert_snapshot!(draw(&picture).replace("><", ">\n<"));
    }

    #[test]
    fn names_are_escaped_and_shortened() {
        let mut graph = diamond();
        graph.configs[0].name = "<b>&\"".to_owned();
        graph.apps[0].name = "a-very-long-name-of-an-app-that-goes-on-and-on".to_owned();
        let svg = draw(&Picture::of(&graph, "p"));
        assert!(svg.contains("&lt;b&gt;&amp;&quot;") && !svg.contains("<b>"));
        assert!(svg.contains(">a-very-long-na…oes-on-and-on<"), "{svg}");
    }

    #[test]
    fn three_hundred_nodes_are_small_and_quick() {
        let picture = Picture::of(&fan(99), "p");
        assert_eq!(picture.nodes.len(), 298);
        let begun = std::time::Instant::now();
        let svg = draw(&picture);
        assert!(begun.elapsed().as_millis() < 500, "{:?}", begun.elapsed());
        assert!(svg.len() < 400_000, "{}", svg.len());
    }
}
