//! What holds of every drawing, and what some look like.

use proptest::prelude::*;

use super::*;
use crate::drawing::{
    layers::{MOST, TooLarge},
    ordering::crossings,
};

fn node(width: f64, layer: usize) -> Node {
    Node { size: Size { width, height: 20.0 + (layer % 2) as f64 * 26.0 }, layer }
}

fn edge(from: usize, to: usize) -> Edge {
    Edge { from, to, look: if (from + to).is_multiple_of(5) { Look::Dashed } else { Look::Solid } }
}

/// Any graph: nodes in layers, edges from a higher one to a lower one.
fn graphs() -> impl Strategy<Value = (Vec<Node>, Vec<Edge>)> {
    let nodes = prop::collection::vec((1u32..90, 0usize..9), 1..40);
    (nodes, prop::collection::vec((0usize..40, 0usize..40), 0..90)).prop_map(|(nodes, pairs)| {
        let nodes: Vec<Node> =
            nodes.into_iter().map(|(width, layer)| node(2.0 * f64::from(width) + 18.0, layer)).collect();
        let count = nodes.len();
        let mut edges: Vec<Edge> = pairs
            .into_iter()
            .map(|(a, b)| (a % count, b % count))
            .filter(|(a, b)| nodes[*a].layer < nodes[*b].layer)
            .map(|(a, b)| edge(a, b))
            .collect();
        edges.dedup();
        (nodes, edges)
    })
}

fn overlap(a: &Placed, b: &Placed) -> bool {
    a.x < b.x + b.size.width && b.x < a.x + a.size.width && a.y < b.y + b.size.height && b.y < a.y + a.size.height
}

proptest! {
    #[test]
    fn no_two_boxes_overlap_and_all_lie_inside((nodes, edges) in graphs()) {
        let drawn = lay_out(&nodes, &edges).expect("it is small");
        for (at, one) in drawn.boxes.iter().enumerate() {
            prop_assert_eq!(one.size, nodes[at].size);
            prop_assert!(one.x >= -1.0 && one.y >= 0.0, "{one:?}");
            prop_assert!(one.x + one.size.width <= drawn.size.width + 1.0, "{one:?} in {:?}", drawn.size);
            prop_assert!(one.y + one.size.height <= drawn.size.height, "{one:?} in {:?}", drawn.size);
            for other in &drawn.boxes[..at] {
                prop_assert!(!overlap(one, other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn every_edge_leads_downward_from_its_box_to_its_box((nodes, edges) in graphs()) {
        let drawn = lay_out(&nodes, &edges).expect("it is small");
        for line in &drawn.lines {
            let [a, b, c, d] = line.points;
            prop_assert!(a.1 <= b.1 && b.1 < c.1 && c.1 <= d.1, "{line:?}");
        }
        for edge in &edges {
            let (from, to) = (drawn.boxes[edge.from], drawn.boxes[edge.to]);
            let inside = |placed: &Placed, x: f64| placed.x <= x && x <= placed.x + placed.size.width;
            // Back from the box along the pieces of this look.
            let begins = |point: Point| inside(&from, point.0) && point.1 == from.y + from.size.height;
            let same = || drawn.lines.iter().filter(|line| line.look == edge.look);
            let mut reached: Vec<Point> =
                same().filter(|line| line.into == Some(edge.to)).map(|line| line.points[0]).collect();
            let arrives = |line: &Line| inside(&to, line.points[3].0) && line.points[3].1 == to.y;
            prop_assert!(same().filter(|line| line.into == Some(edge.to)).all(arrives));
            let mut at = 0;
            while at < reached.len() && !begins(reached[at]) {
                let here = reached[at];
                reached.extend(same().filter(|line| line.points[3] == here).map(|line| line.points[0]));
                at += 1;
            }
            prop_assert!(at < reached.len(), "{edge:?} is not drawn");
        }
    }

    #[test]
    fn no_line_runs_through_a_box((nodes, edges) in graphs()) {
        let drawn = lay_out(&nodes, &edges).expect("it is small");
        for line in &drawn.lines {
            let [a, b, c, d] = line.points;
            for placed in &drawn.boxes {
                let (left, right) = (placed.x, placed.x + placed.size.width);
                let (top, bottom) = (placed.y, placed.y + placed.size.height);
                // The straight pieces, and the strip in which the curve stays.
                for (x, from, to) in [(a.0, a.1, b.1), (c.0, c.1, d.1)] {
                    let through = left < x && x < right && from < bottom && top < to;
                    prop_assert!(!through, "{line:?} and {placed:?}");
                }
                prop_assert!(bottom <= b.1 || c.1 <= top, "the curve of {line:?} and {placed:?}");
            }
        }
    }

    #[test]
    fn the_same_graph_is_drawn_the_same((nodes, edges) in graphs()) {
        prop_assert_eq!(lay_out(&nodes, &edges), lay_out(&nodes, &edges));
    }

    #[test]
    fn ordering_adds_no_crossing((nodes, edges) in graphs()) {
        let mut graph = layers(&nodes, &edges).expect("it is small");
        let (before, members) = (crossings(&graph), graph.layers.clone());
        order(&mut graph);
        prop_assert!(crossings(&graph) <= before);
        for (mut was, mut is) in members.into_iter().zip(graph.layers) {
            was.sort_unstable();
            is.sort_unstable();
            prop_assert_eq!(was, is);
        }
    }

    #[test]
    fn crossings_are_counted_right((nodes, edges) in graphs()) {
        let graph = layers(&nodes, &edges).expect("it is small");
        let place = |node: usize| {
            let layer = &graph.layers[graph.nodes[node].layer];
            layer.iter().position(|member| *member == node).expect("it is in its layer")
        };
        let mut slow = 0;
        for (at, one) in graph.segments.iter().enumerate() {
            for other in &graph.segments[..at] {
                let same_layer = graph.nodes[one.from].layer == graph.nodes[other.from].layer;
                let left = place(one.from) as i64 - place(other.from) as i64;
                let right = place(one.to) as i64 - place(other.to) as i64;
                slow += usize::from(same_layer && left * right < 0);
            }
        }
        prop_assert_eq!(crossings(&graph), slow);
    }
}

#[test]
fn crossed_pairs_are_uncrossed() {
    let nodes: Vec<Node> = [0, 0, 0, 1, 1, 1].map(|layer| node(40.0, layer)).into();
    let mut graph = layers(&nodes, &[edge(0, 5), edge(1, 4), edge(2, 3)]).expect("it is small");
    assert_eq!(crossings(&graph), 3);
    order(&mut graph);
    assert_eq!(crossings(&graph), 0);
}

#[test]
fn a_chain_is_straight_and_a_fork_is_even() {
    let nodes: Vec<Node> = [0, 1, 2].map(|layer| node(40.0, layer)).into();
    let drawn = lay_out(&nodes, &[edge(0, 1), edge(1, 2)]).expect("it is small");
    assert!(drawn.boxes.iter().all(|placed| placed.x == drawn.boxes[0].x), "{drawn:?}");
    let nodes: Vec<Node> = [0, 1, 1].map(|layer| node(40.0, layer)).into();
    let drawn = lay_out(&nodes, &[edge(0, 1), edge(0, 2)]).expect("it is small");
    let [top, left, right] = drawn.boxes[..] else { panic!("three boxes") };
    assert_eq!(top.x - left.x, right.x - top.x);
}

#[test]
fn what_nobody_could_look_at_is_refused() {
    let nodes = [node(40.0, 0), node(40.0, MOST + 1)];
    assert_eq!(lay_out(&nodes, &[edge(0, 1)]), Err(TooLarge));
    let empty = lay_out(&[], &[]).expect("nothing is small");
    assert_eq!((empty.boxes.len(), empty.size), (0, Size { width: 0.0, height: 0.0 }));
}
