//! Where the nodes of a graph stand and how its edges run: layers from left to right by longest path, few crossings, no overlaps.
//!
//! Pure and deterministic: the same input gives the same picture. Parts that are not connected stand below each other; single nodes stand in
//! a grid at the bottom.

mod layers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use layers::Layers;

/// Space between two nodes of a layer.
const ROW_GAP: i64 = 20;
/// Space between two layers; labels of edges stand there.
const COLUMN_GAP: i64 = 84;
/// Space between two parts.
const PART_GAP: i64 = 36;

/// How large a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub width: i64,
    pub height: i64,
}

/// Where a node stands: its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spot {
    pub x: i64,
    pub y: i64,
}

/// The whole arrangement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// One for each node.
    pub spots: Vec<Spot>,
    /// One for each edge: the points it passes, from its source's right side to its target's left side.
    pub routes: Vec<Vec<(i64, i64)>>,
    pub width: i64,
    pub height: i64,
}

/// Arranges nodes of these sizes with these edges (from, to). Edges that close a cycle are drawn but do not count for the layers.
pub fn layout(sizes: &[Size], edges: &[(usize, usize)]) -> Layout {
    let levels = levels(sizes.len(), edges);
    let parts = parts(sizes.len(), edges);
    let (singles, parts): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.len() == 1);
    let columns = columns(sizes, &levels, &parts);
    let mut layout = Layout {
        spots: vec![Spot::default(); sizes.len()],
        routes: vec![Vec::new(); edges.len()],
        width: columns.last().map_or(0, |(x, width)| x + width),
        height: 0,
    };
    for part in parts {
        let layers = Layers::new(&part, sizes, edges, &levels).arranged();
        layers.write(&mut layout, sizes, &columns);
        layout.height += layers.bottom + PART_GAP;
    }
    place_singles(&singles, sizes, &mut layout);
    layout.height = (layout.height - PART_GAP).max(0);
    route(&mut layout, sizes, edges);
    layout
}

/// Layer of each node: the longest way that leads to it. A node that nothing leads to stands directly before what it leads to.
pub fn levels(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let forward = without_cycles(count, edges);
    let mut waiting = vec![0_usize; count];
    let mut outs = vec![Vec::new(); count];
    for &(from, to) in &forward {
        waiting[to] += 1;
        outs[from].push(to);
    }
    let sources: Vec<usize> = (0..count).filter(|node| waiting[*node] == 0).collect();
    let mut levels = vec![0_usize; count];
    let mut queue: VecDeque<usize> = sources.iter().copied().collect();
    while let Some(node) = queue.pop_front() {
        for &to in &outs[node] {
            levels[to] = levels[to].max(levels[node] + 1);
            waiting[to] -= 1;
            if waiting[to] == 0 {
                queue.push_back(to);
            }
        }
    }
    for source in sources {
        if let Some(first) = outs[source].iter().map(|to| levels[*to]).min() {
            levels[source] = first.saturating_sub(1);
        }
    }
    levels
}

/// The edges but those that lead back to a node on the way to their source.
fn without_cycles(count: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut outs = vec![Vec::new(); count];
    for &(from, to) in edges {
        outs[from].push(to);
    }
    // 0 not seen, 1 on the path, 2 done; no recursion, chains may be long.
    let mut state = vec![0_u8; count];
    let mut kept = Vec::with_capacity(edges.len());
    for root in 0..count {
        let mut path = vec![(root, 0)];
        while let Some(&mut (node, ref mut next)) = path.last_mut() {
            if *next == 0 && state[node] == 2 {
                path.pop();
                continue;
            }
            state[node] = 1;
            let Some(&to) = outs[node].get(*next) else {
                state[node] = 2;
                path.pop();
                continue;
            };
            *next += 1;
            if state[to] != 1 {
                kept.push((node, to));
            }
            if state[to] == 0 {
                path.push((to, 0));
            }
        }
    }
    kept
}

/// The connected parts, largest first; nodes of a part in their order.
fn parts(count: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut near = vec![Vec::new(); count];
    for &(from, to) in edges {
        near[from].push(to);
        near[to].push(from);
    }
    let mut seen = vec![false; count];
    let mut parts = Vec::new();
    for root in 0..count {
        if std::mem::replace(&mut seen[root], true) {
            continue;
        }
        let mut part = vec![root];
        let mut next = 0;
        while let Some(&node) = part.get(next) {
            next += 1;
            for &other in &near[node] {
                if !std::mem::replace(&mut seen[other], true) {
                    part.push(other);
                }
            }
        }
        part.sort_unstable();
        parts.push(part);
    }
    parts.sort_by_key(|part| (std::cmp::Reverse(part.len()), part[0]));
    parts
}

/// Left edge and width of each layer, the same for all parts.
fn columns(sizes: &[Size], levels: &[usize], parts: &[Vec<usize>]) -> Vec<(i64, i64)> {
    let mut widths: Vec<i64> = Vec::new();
    for &node in parts.iter().flatten() {
        widths.resize(widths.len().max(levels[node] + 1), 0);
        widths[levels[node]] = widths[levels[node]].max(sizes[node].width);
    }
    let mut x = 0;
    let column = |width: i64| {
        let left = x;
        x += width + COLUMN_GAP;
        (left, width)
    };
    widths.into_iter().map(column).collect()
}

fn place_singles(singles: &[Vec<usize>], sizes: &[Size], layout: &mut Layout) {
    let Some(width) = singles.iter().map(|part| sizes[part[0]].width).max() else { return };
    let height = singles.iter().map(|part| sizes[part[0]].height).max().unwrap_or_default();
    let step = width + ROW_GAP * 2;
    let in_row = usize::try_from((layout.width + ROW_GAP * 2) / step).unwrap_or(1).max(4).min(singles.len());
    let mut x = 0;
    for (index, part) in singles.iter().enumerate() {
        if index > 0 && index % in_row == 0 {
            layout.height += height + ROW_GAP;
            x = 0;
        }
        layout.spots[part[0]] = Spot { x, y: layout.height };
        layout.width = layout.width.max(x + width);
        x += step;
    }
    layout.height += height + PART_GAP;
}

/// Adds where each edge leaves and enters.
fn route(layout: &mut Layout, sizes: &[Size], edges: &[(usize, usize)]) {
    for (route, &(from, to)) in layout.routes.iter_mut().zip(edges) {
        let (source, target) = (layout.spots[from], layout.spots[to]);
        route.insert(0, (source.x + sizes[from].width, source.y + sizes[from].height / 2));
        route.push((target.x, target.y + sizes[to].height / 2));
    }
}
