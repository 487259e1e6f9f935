//! One connected part of a graph: the order of its layers and the places in them.

use super::{Layout, ROW_GAP, Size, Spot};

/// Space an edge takes that passes through a layer.
const PASS: i64 = 10;
/// How often the order within layers is improved.
const SWEEPS: usize = 8;

/// One connected part. Its vertices are its nodes and, for edges longer than one layer, one more in each layer they pass.
pub(super) struct Layers {
    vertices: Vec<Vertex>,
    /// Vertices of each layer, top to bottom.
    rows: Vec<Vec<usize>>,
    /// Index of each vertex in its row.
    place: Vec<usize>,
    pub(super) bottom: i64,
}

struct Vertex {
    level: usize,
    height: i64,
    /// Middle, counted from the part's top.
    middle: i64,
    of: Of,
    ins: Vec<usize>,
    outs: Vec<usize>,
}

enum Of {
    Node(usize),
    Edge(usize),
}

impl Layers {
    pub(super) fn new(part: &[usize], sizes: &[Size], edges: &[(usize, usize)], levels: &[usize]) -> Self {
        let mut vertex_of = vec![usize::MAX; sizes.len()];
        let mut vertices = Vec::with_capacity(part.len());
        let vertex = |level, height, of| Vertex { level, height, middle: 0, of, ins: Vec::new(), outs: Vec::new() };
        for &node in part {
            vertex_of[node] = vertices.len();
            vertices.push(vertex(levels[node], sizes[node].height, Of::Node(node)));
        }
        for (edge, &(from, to)) in edges.iter().enumerate() {
            let mut last = vertex_of[from];
            if last == usize::MAX || levels[from] >= levels[to] {
                continue;
            }
            for level in levels[from] + 1..levels[to] {
                let pass = vertices.len();
                vertices.push(vertex(level, PASS, Of::Edge(edge)));
                vertices[last].outs.push(pass);
                vertices[pass].ins.push(last);
                last = pass;
            }
            vertices[last].outs.push(vertex_of[to]);
            vertices[vertex_of[to]].ins.push(last);
        }
        let depth = vertices.iter().map(|vertex| vertex.level + 1).max().unwrap_or_default();
        let mut rows = vec![Vec::new(); depth];
        let mut place = vec![0; vertices.len()];
        for (index, vertex) in vertices.iter().enumerate() {
            place[index] = rows[vertex.level].len();
            rows[vertex.level].push(index);
        }
        Self { vertices, rows, place, bottom: 0 }
    }

    /// Ordered and stacked.
    pub(super) fn arranged(mut self) -> Self {
        self.order();
        self.stack();
        self
    }

    /// Barycenter sweeps to and fro; the order with the fewest crossings stays.
    fn order(&mut self) {
        let mut best = (self.crossings(), self.rows.clone());
        for sweep in 0..SWEEPS {
            if best.0 == 0 {
                break;
            }
            let forward = sweep % 2 == 0;
            let depth = self.rows.len();
            for step in 1..depth {
                self.sort_row(if forward { step } else { depth - 1 - step }, forward);
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.rows.clone());
            }
        }
        self.rows = best.1;
        for row in 0..self.rows.len() {
            self.note_places(row);
        }
    }

    /// Orders a row by the mean place of what it is tied to on one side; what is tied to nothing there keeps its place.
    fn sort_row(&mut self, row: usize, by_ins: bool) {
        let mean = |vertex: usize| {
            let tied = if by_ins { &self.vertices[vertex].ins } else { &self.vertices[vertex].outs };
            mean(tied.iter().map(|other| self.place[*other])).unwrap_or(self.place[vertex] * 1024)
        };
        let mut keyed: Vec<_> =
            self.rows[row].iter().map(|vertex| (mean(*vertex), self.place[*vertex], *vertex)).collect();
        keyed.sort_unstable();
        self.rows[row] = keyed.into_iter().map(|(_, _, vertex)| vertex).collect();
        self.note_places(row);
    }

    fn note_places(&mut self, row: usize) {
        for (place, &vertex) in self.rows[row].iter().enumerate() {
            self.place[vertex] = place;
        }
    }

    fn crossings(&self) -> usize {
        self.rows.iter().map(|row| self.crossings_after(row)).sum()
    }

    /// Edges from this row to the next that cross: inversions, counted with a Fenwick tree.
    fn crossings_after(&self, row: &[usize]) -> usize {
        let ends = |vertex: &usize| {
            let mut ends: Vec<usize> = self.vertices[*vertex].outs.iter().map(|to| self.place[*to]).collect();
            ends.sort_unstable();
            ends
        };
        let ends: Vec<usize> = row.iter().flat_map(ends).collect();
        let most = ends.iter().max().map_or(0, |most| most + 1);
        let mut tree = vec![0_usize; most + 1];
        let mut crossings = 0;
        for (seen, &end) in ends.iter().enumerate() {
            let (mut not_beyond, mut at) = (0, end + 1);
            while at > 0 {
                not_beyond += tree[at];
                at &= at - 1;
            }
            crossings += seen - not_beyond;
            at = end + 1;
            while at <= most {
                tree[at] += 1;
                at += at & at.wrapping_neg();
            }
        }
        crossings
    }

    /// Gives each vertex its middle: close to what it is tied to, in the row's order, without overlap.
    fn stack(&mut self) {
        for row in 0..self.rows.len() {
            self.settle_row(row, |_| 0);
        }
        let depth = self.rows.len();
        for _ in 0..4 {
            for row in 1..depth {
                self.pull_row(row, true, false);
            }
            for row in (0..depth.saturating_sub(1)).rev() {
                self.pull_row(row, false, true);
            }
        }
        for row in 0..depth {
            self.pull_row(row, true, true);
        }
        let top = self.vertices.iter().map(|vertex| vertex.middle - vertex.height / 2).min().unwrap_or_default();
        for vertex in &mut self.vertices {
            vertex.middle -= top;
            self.bottom = self.bottom.max(vertex.middle + vertex.height - vertex.height / 2);
        }
    }

    fn pull_row(&mut self, row: usize, ins: bool, outs: bool) {
        let wanted: Vec<i64> = self.rows[row]
            .iter()
            .map(|index| {
                let vertex = &self.vertices[*index];
                let ins = vertex.ins.iter().filter(|_| ins);
                let tied: Vec<i64> =
                    ins.chain(vertex.outs.iter().filter(|_| outs)).map(|other| self.vertices[*other].middle).collect();
                if tied.is_empty() {
                    vertex.middle
                } else {
                    tied.iter().sum::<i64>() / i64::try_from(tied.len()).unwrap_or(1)
                }
            })
            .collect();
        self.settle_row(row, |index| wanted[index]);
    }

    /// The places nearest to the wanted ones (least squares) that keep order and distance: neighbours that would overlap are pooled and
    /// share the mean of what they want.
    fn settle_row(&mut self, row: usize, wanted: impl Fn(usize) -> i64) {
        let mut pools: Vec<(i64, i64)> = Vec::new();
        let mut offsets = Vec::with_capacity(self.rows[row].len());
        let mut offset = 0;
        let mut before: Option<i64> = None;
        for (index, &vertex) in self.rows[row].iter().enumerate() {
            let height = self.vertices[vertex].height;
            if let Some(before) = before {
                offset += (before + 1) / 2 + (height + 1) / 2 + ROW_GAP;
            }
            before = Some(height);
            offsets.push(offset);
            let mut pool = (wanted(index) - offset, 1);
            while let Some(&(sum, count)) = pools.last()
                && sum * pool.1 > pool.0 * count
            {
                pool = (pool.0 + sum, pool.1 + count);
                pools.pop();
            }
            pools.push(pool);
        }
        let starts = pools.into_iter().flat_map(|(sum, count)| (0..count).map(move |_| sum.div_euclid(count)));
        for ((start, offset), &vertex) in starts.zip(offsets).zip(&self.rows[row]) {
            self.vertices[vertex].middle = start + offset;
        }
    }

    /// Writes where its nodes stand, below what is written already.
    pub(super) fn write(&self, layout: &mut Layout, sizes: &[Size], columns: &[(i64, i64)]) {
        let top = layout.height;
        for row in &self.rows {
            for &index in row {
                let vertex = &self.vertices[index];
                let (x, width) = columns[vertex.level];
                match vertex.of {
                    Of::Node(node) => {
                        let y = top + vertex.middle - vertex.height / 2;
                        layout.spots[node] = Spot { x: x + (width - sizes[node].width) / 2, y };
                    }
                    // Straight through the layer.
                    Of::Edge(edge) => {
                        layout.routes[edge].extend([(x, top + vertex.middle), (x + width, top + vertex.middle)]);
                    }
                }
            }
        }
    }
}

/// The mean in 1024ths, so that keys are exact.
fn mean(places: impl Iterator<Item = usize>) -> Option<usize> {
    let (sum, count) = places.fold((0, 0), |(sum, count), place| (sum + place, count + 1));
    (count > 0).then(|| sum * 1024 / count)
}
