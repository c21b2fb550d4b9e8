//! Where everything stands: boxes in layers, edges as curves between them.

use super::{
    layers::{Edge, Layers, Look, Node, Size, TooLarge, layers},
    ordering::order,
    spread::{Wish, spread},
};

/// A box with its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Its left side.
    pub x: f64,
    /// Its upper side.
    pub y: f64,
    /// Its size.
    pub size: Size,
}

/// A point.
pub type Point = (f64, f64);

/// A piece of an edge: straight down, a curve, straight down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Where it begins, the curve's two ends, and where it ends: each no higher than the one before.
    pub points: [Point; 4],
    /// How it looks.
    pub look: Look,
    /// The box in which it ends; nothing for a bend.
    pub into: Option<usize>,
}

/// A drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The boxes, in the order of the nodes.
    pub boxes: Vec<Placed>,
    /// The pieces of all edges.
    pub lines: Vec<Line>,
    /// The size of it all; it begins at (0, 0).
    pub size: Size,
}

/// The least room between two boxes.
const BESIDE: f64 = 22.0;
/// The least room between two bends.
const BENDS: f64 = 12.0;
/// The least room between two layers.
const BELOW: f64 = 24.0;
/// Layers are gone through this many times.
const ROUNDS: usize = 48;

/// Returns a drawing of the graph; every edge leads to a lower layer.
///
/// Pure and deterministic. No two boxes touch, and no line runs through a box.
///
/// # Errors
/// [`TooLarge`] if the drawing would have too many parts.
pub fn lay_out(nodes: &[Node], edges: &[Edge]) -> Result<Layout, TooLarge> {
    let mut graph = layers(nodes, edges)?;
    order(&mut graph);
    let centres = centres(&graph);
    Ok(finish(&graph, &centres))
}

fn apart(graph: &Layers, left: usize, right: usize) -> f64 {
    let both_bend = left >= graph.real && right >= graph.real;
    let half = (graph.nodes[left].size.width + graph.nodes[right].size.width) / 2.0;
    half + if both_bend { BENDS } else { BESIDE }
}

/// Returns the middle of every node: near those of its neighbours, long edges as straight as can be.
fn centres(graph: &Layers) -> Vec<f64> {
    let mut beside: Vec<Vec<(usize, f64, bool)>> = vec![Vec::new(); graph.nodes.len()];
    let (mut outs, mut ins) = (vec![0; graph.nodes.len()], vec![0; graph.nodes.len()]);
    for segment in &graph.segments {
        outs[segment.from] += 1;
        ins[segment.to] += 1;
    }
    for segment in &graph.segments {
        let alone = outs[segment.from] == 1 && ins[segment.to] == 1;
        let weight = match (segment.from >= graph.real, segment.to >= graph.real) {
            (true, true) => 16.0,
            _ if alone => 6.0,
            (true, false) | (false, true) => 2.0,
            (false, false) => 1.0,
        };
        beside[segment.to].push((segment.from, weight, true));
        beside[segment.from].push((segment.to, weight, false));
    }
    let mut centres = vec![0.0; graph.nodes.len()];
    let distances: Vec<Vec<f64>> = graph
        .layers
        .iter()
        .map(|layer| layer.windows(2).map(|pair| apart(graph, pair[0], pair[1])).collect())
        .collect();
    for (layer, distances) in graph.layers.iter().zip(&distances) {
        let middle = distances.iter().sum::<f64>() / 2.0;
        let mut at = -middle;
        for (place, node) in layer.iter().enumerate() {
            centres[*node] = at;
            at += distances.get(place).copied().unwrap_or(0.0);
        }
    }
    let count = graph.layers.len();
    for round in 0..ROUNDS {
        let down = round % 2 == 0;
        // At first from one side only, so that what is far away is heard of; then both sides count.
        let one_sided = round < ROUNDS / 2;
        for step in 0..count {
            let at = if down { step } else { count - 1 - step };
            let wishes: Vec<Wish> = graph.layers[at]
                .iter()
                .map(|node| {
                    let heard = beside[*node].iter().filter(|(_, _, above)| !one_sided || *above == down);
                    let (sum, weight) = heard.fold((0.0, 0.0), |(sum, all), (neighbour, weight, _)| {
                        (sum + centres[*neighbour] * weight, all + weight)
                    });
                    match weight {
                        0.0 => Wish { at: centres[*node], weight: 0.1 },
                        weight => Wish { at: sum / weight, weight },
                    }
                })
                .collect();
            for (node, place) in graph.layers[at].iter().zip(spread(&wishes, &distances[at])) {
                centres[*node] = place;
            }
        }
    }
    centres
}

fn finish(graph: &Layers, centres: &[f64]) -> Layout {
    let edge = |side: f64| centres.iter().zip(&graph.nodes).map(move |(at, node)| at + side * node.size.width / 2.0);
    let left = edge(-1.0).fold(f64::INFINITY, f64::min);
    let right = edge(1.0).fold(f64::NEG_INFINITY, f64::max);
    let (left, width) = if graph.nodes.is_empty() { (0.0, 0.0) } else { (left, (right - left).ceil()) };
    let centres: Vec<f64> = centres.iter().map(|at| (at - left).round()).collect();
    let bands = bands(graph, &centres);
    let placed: Vec<Placed> = graph
        .nodes
        .iter()
        .zip(&centres)
        .map(|(node, at)| {
            let (top, bottom) = bands[node.layer];
            let y = ((top + bottom - node.size.height) / 2.0).round();
            Placed { x: at - node.size.width / 2.0, y, size: node.size }
        })
        .collect();
    let height = bands.last().map_or(0.0, |(_, bottom)| *bottom);
    let lines = lines(graph, &centres, &bands, &placed);
    Layout { boxes: placed[..graph.real].to_vec(), lines, size: Size { width, height } }
}

/// Returns the upper and the lower end of every layer; steep lines get more room.
fn bands(graph: &Layers, centres: &[f64]) -> Vec<(f64, f64)> {
    let mut longest = vec![0.0f64; graph.layers.len()];
    for segment in &graph.segments {
        let layer = graph.nodes[segment.from].layer;
        longest[layer] = longest[layer].max((centres[segment.from] - centres[segment.to]).abs());
    }
    let mut top = 0.0;
    let mut bands = Vec::with_capacity(graph.layers.len());
    for (layer, longest) in graph.layers.iter().zip(longest) {
        let height = layer.iter().map(|node| graph.nodes[*node].size.height).fold(0.0, f64::max);
        bands.push((top, top + height));
        top += height + BELOW + (longest / 8.0).min(48.0).round();
    }
    bands
}

fn lines(graph: &Layers, centres: &[f64], bands: &[(f64, f64)], placed: &[Placed]) -> Vec<Line> {
    let begins = doors(graph, centres, |segment| (segment.0, segment.1));
    let ends = doors(graph, centres, |segment| (segment.1, segment.0));
    let mut lines = Vec::with_capacity(graph.segments.len());
    for (at, segment) in graph.segments.iter().enumerate() {
        let (from, to) = (&placed[segment.from], &placed[segment.to]);
        let (x, to_x) = (begins[at], ends[at]);
        let from_band = bands[graph.nodes[segment.from].layer];
        let to_band = bands[graph.nodes[segment.to].layer];
        let is_bend = segment.to >= graph.real;
        let begin = if segment.from >= graph.real { from_band.1 } else { from.y + from.size.height };
        // A bend leads on to the lower end of its layer.
        let end = if is_bend { to_band.1 } else { to.y };
        lines.push(Line {
            points: [(x, begin), (x, from_band.1), (to_x, to_band.0), (to_x, end)],
            look: segment.look,
            into: (!is_bend).then_some(segment.to),
        });
    }
    lines
}

/// Returns where each segment meets its node: several share its side evenly, in the order of their other ends.
fn doors(graph: &Layers, centres: &[f64], ends: impl Fn((usize, usize)) -> (usize, usize)) -> Vec<f64> {
    let mut at_node: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for (at, segment) in graph.segments.iter().enumerate() {
        at_node[ends((segment.from, segment.to)).0].push(at);
    }
    let other = |at: usize| centres[ends((graph.segments[at].from, graph.segments[at].to)).1];
    let mut doors = vec![0.0; graph.segments.len()];
    for (node, mut here) in at_node.into_iter().enumerate() {
        here.sort_by(|a, b| other(*a).total_cmp(&other(*b)));
        let between = here.len().saturating_sub(1) as f64;
        let width = if node >= graph.real { 0.0 } else { (graph.nodes[node].size.width * 0.6).min(between * 16.0) };
        for (place, at) in here.into_iter().enumerate() {
            let share = if between > 0.0 { place as f64 / between - 0.5 } else { 0.0 };
            doors[at] = (centres[node] + share * width).round();
        }
    }
    doors
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
