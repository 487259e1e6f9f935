//! The promises of the layout.

use super::*;

const SIZE: Size = Size { width: 160, height: 48 };

fn overlaps(layout: &Layout, sizes: &[Size]) -> usize {
    let mut boxes: Vec<_> = layout.spots.iter().zip(sizes).collect();
    boxes.sort_by_key(|(spot, _)| (spot.x, spot.y));
    let mut found = 0;
    for (index, (a, a_size)) in boxes.iter().enumerate() {
        for (b, b_size) in boxes[index + 1..].iter().take_while(|(b, _)| b.x < a.x + a_size.width) {
            if a.y < b.y + b_size.height && b.y < a.y + a_size.height {
                found += 1;
            }
        }
    }
    found
}

/// A fixed stream of numbers: tests must not differ from run to run.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 1_u64;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    }
}

/// Layers of `wide` nodes, each tied to one to three of the layer before.
fn layered(count: usize, wide: usize) -> Vec<(usize, usize)> {
    let mut number = numbers();
    let mut edges = Vec::new();
    for node in wide..count {
        let first = (node / wide - 1) * wide;
        for _ in 0..=number(3) {
            edges.push((first + number(wide), node));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

#[test]
fn a_diamond_stands_in_three_layers() {
    let layout = layout(&[SIZE; 4], &[(0, 1), (0, 2), (1, 3), (2, 3)]);
    let [top, left, right, bottom] = layout.spots[..] else { panic!() };
    assert!(top.x < left.x && left.x == right.x && right.x < bottom.x);
    assert_eq!((top.y, bottom.y), ((left.y + right.y) / 2, (left.y + right.y) / 2));
    assert_eq!(layout.routes[0], [(160, top.y + 24), (left.x, left.y + 24)]);
}

#[test]
fn crossings_that_need_not_be_are_not() {
    // Written crosswise: a1→b2, a2→b1.
    let edges = [(0, 3), (1, 2), (4, 0), (4, 1), (2, 5), (3, 5)];
    let layout = layout(&[SIZE; 6], &edges);
    let above = |a: usize, b: usize| layout.spots[a].y < layout.spots[b].y;
    assert_eq!(above(0, 1), above(3, 2));
}

#[test]
fn a_long_edge_passes_beside_the_nodes_between() {
    let layout = layout(&[SIZE; 3], &[(0, 1), (1, 2), (0, 2)]);
    assert_eq!(layout.routes[2].len(), 4);
    let pass = layout.routes[2][1];
    assert!(pass.1 < layout.spots[1].y || pass.1 > layout.spots[1].y + SIZE.height);
}

#[test]
fn the_same_input_gives_the_same_picture_and_nothing_overlaps() {
    let edges = layered(240, 40);
    let sizes: Vec<Size> = (0..250).map(|node| Size { width: 120 + 10 * (node % 7), height: 44 + node % 3 }).collect();
    let first = layout(&sizes, &edges);
    assert_eq!(first, layout(&sizes, &edges));
    assert_eq!(overlaps(&first, &sizes), 0);
    let right = first.spots.iter().zip(&sizes).map(|(spot, size)| spot.x + size.width).max();
    let bottom = first.spots.iter().zip(&sizes).map(|(spot, size)| spot.y + size.height).max();
    assert!(right <= Some(first.width) && bottom <= Some(first.height));
    assert!(first.spots.iter().all(|spot| spot.x >= 0 && spot.y >= 0));
}

#[test]
fn cycles_and_loops_do_no_harm() {
    let layout = layout(&[SIZE; 3], &[(0, 1), (1, 2), (2, 0), (1, 1)]);
    assert_eq!(overlaps(&layout, &[SIZE; 3]), 0);
    assert_eq!(layout.routes.len(), 4);
    assert_eq!(levels(3, &[(0, 1), (1, 2), (2, 0)]), [0, 1, 2]);
}

#[test]
fn a_source_stands_next_to_what_it_leads_to() {
    assert_eq!(levels(4, &[(0, 1), (1, 2), (3, 2)]), [0, 1, 2, 1]);
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(layout(&[], &[]), Layout::default());
}

#[test]
fn five_thousand_nodes_take_less_than_a_second() {
    let edges = layered(5000, 600);
    let sizes = vec![SIZE; 5000];
    let begun = std::time::Instant::now();
    let layout = layout(&sizes, &edges);
    let took = begun.elapsed();
    assert_eq!(overlaps(&layout, &sizes), 0);
    assert!(took.as_millis() < 1000, "{took:?}");
}
