//! A smaller picture: only what a node is tied to, or groups in the place of many nodes.

use std::collections::BTreeMap;

use super::layout::levels;
use super::{Edge, Kind, Node, Picture, State};

/// More nodes than this are drawn as groups.
pub const MOST_NODES: usize = 300;

/// Along which edges to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
    Both,
}

impl Direction {
    /// The direction written as in an address.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "up" => Some(Self::Up),
            "down" => Some(Self::Down),
            "both" => Some(Self::Both),
            _ => None,
        }
    }
}

impl Picture {
    /// Only the node with that key and what lies upstream or downstream of it.
    pub fn focused(self, key: &str, direction: Direction) -> Self {
        let Some(start) = self.find(key) else { return self };
        let mut keep = vec![false; self.nodes.len()];
        keep[start] = true;
        if direction != Direction::Down {
            self.reach(start, &mut keep, |edge| (edge.to, edge.from));
        }
        if direction != Direction::Up {
            self.reach(start, &mut keep, |edge| (edge.from, edge.to));
        }
        self.only(&keep)
    }

    fn reach(&self, start: usize, keep: &mut [bool], along: impl Fn(&Edge) -> (usize, usize)) {
        let mut next = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            let (from, to) = along(edge);
            next[from].push(to);
        }
        let mut seen = vec![false; self.nodes.len()];
        let mut queue = vec![start];
        while let Some(node) = queue.pop() {
            if !std::mem::replace(&mut seen[node], true) {
                keep[node] = true;
                queue.extend(&next[node]);
            }
        }
    }

    fn only(self, keep: &[bool]) -> Self {
        let mut place = vec![usize::MAX; self.nodes.len()];
        let mut nodes = Vec::new();
        for (index, node) in self.nodes.into_iter().enumerate().filter(|(index, _)| keep[*index]) {
            place[index] = nodes.len();
            nodes.push(node);
        }
        let edges = self.edges.into_iter().filter(|edge| keep[edge.from] && keep[edge.to]);
        let edges = edges.map(|edge| Edge { from: place[edge.from], to: place[edge.to], ..edge }).collect();
        Self { nodes, edges }
    }

    /// The same picture when it is small; else with one group for all nodes of a kind in a layer. The node with key `keep` stays itself.
    pub fn collapsed(self, keep: &str) -> Self {
        if self.nodes.len() <= MOST_NODES {
            return self;
        }
        let pairs: Vec<_> = self.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let levels = levels(self.nodes.len(), &pairs);
        let mut groups: BTreeMap<(usize, Kind), Vec<usize>> = BTreeMap::new();
        let mut collapsed = Self::default();
        let mut place = vec![0; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            if node.key == keep {
                place[index] = collapsed.nodes.len();
                collapsed.nodes.push(node.clone());
            } else {
                groups.entry((levels[index], node.kind)).or_default().push(index);
            }
        }
        for ((level, kind), members) in groups {
            for &member in &members {
                place[member] = collapsed.nodes.len();
            }
            let nodes: Vec<&Node> = members.iter().map(|member| &self.nodes[*member]).collect();
            collapsed.nodes.push(match nodes[..] {
                [only] => only.clone(),
                _ => group(level, kind, &nodes),
            });
        }
        let mut edges: BTreeMap<(usize, usize), (usize, bool, bool)> = BTreeMap::new();
        for edge in &self.edges {
            let (from, to) = (place[edge.from], place[edge.to]);
            let entry = edges.entry((from, to)).or_default();
            *entry = (entry.0 + 1, entry.1 | edge.on, entry.2 | edge.behind);
        }
        let edge = |((from, to), (count, on, behind))| Edge { from, to, label: format!("{count} edges"), on, behind };
        collapsed.edges = edges.into_iter().filter(|((from, to), _)| from != to).map(edge).collect();
        collapsed
    }

    /// Keys of the nodes that the group with that key stands for.
    pub fn members(&self, group: &str) -> Vec<&Node> {
        let pairs: Vec<_> = self.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let levels = levels(self.nodes.len(), &pairs);
        let within = |(node, level): (&Node, usize)| group_key(level, node.kind) == group;
        self.nodes.iter().zip(levels).filter(|(node, level)| within((node, *level))).map(|(node, _)| node).collect()
    }
}

fn group_key(level: usize, kind: Kind) -> String {
    format!("group:{level}:{}", kind.word().replace(' ', "-"))
}

fn group(level: usize, kind: Kind, members: &[&Node]) -> Node {
    let state = members.iter().map(|node| node.state).max().unwrap_or(State::Plain);
    let count = |state: State| members.iter().filter(|node| node.state == state).count();
    let said =
        [(State::Fail, "failing"), (State::Held, "held"), (State::Warn, "to look at"), (State::Running, "running")];
    let said: Vec<String> = said
        .into_iter()
        .filter(|(state, _)| count(*state) > 0)
        .map(|(state, word)| format!("{} {word}", count(state)))
        .collect();
    let word = if said.is_empty() { "all well".to_owned() } else { said.join(", ") };
    Node {
        key: group_key(level, kind),
        id: String::new(),
        kind: Kind::Group,
        project: String::new(),
        name: format!("{} {}", members.len(), kind.plural()),
        sub: word.clone(),
        state,
        word,
        href: None,
        count: members.len(),
        wave: members.iter().filter_map(|node| node.wave).min(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::testing::{diamond, fan};

    fn names(picture: &Picture) -> Vec<&str> {
        picture.nodes.iter().map(|node| node.name.as_str()).collect()
    }

    #[test]
    fn focus_keeps_one_side_or_both() {
        let picture = Picture::of(&diamond(), "p");
        let focus = |direction| picture.clone().focused("build:x", direction);
        assert_eq!(names(&focus(Direction::Up)), ["base:latest", "x"]);
        assert_eq!(names(&focus(Direction::Down)), ["x:latest", "z:latest", "x", "z", "web"]);
        assert_eq!(focus(Direction::Both).nodes.len(), 6);
        assert_eq!(focus(Direction::Both).edges.len(), 5);
        assert_eq!(picture.clone().focused("build:none", Direction::Up), picture);
    }

    #[test]
    fn many_nodes_become_groups_with_counts_and_none_is_lost() {
        let picture = Picture::of(&fan(1666), "p");
        let before = picture.nodes.len();
        let collapsed = picture.clone().collapsed("build:x0003");
        assert_eq!(names(&collapsed), ["x0003", "base:latest", "1665 builds", "1666 tags", "1666 apps"]);
        assert_eq!(collapsed.nodes.iter().map(|node| node.count).sum::<usize>(), before);
        assert_eq!(picture.members("group:1:build").len(), 1666);
        let small = Picture::of(&diamond(), "p");
        assert_eq!(small.clone().collapsed(""), small);
    }
}
