//! The order of the nodes in each layer: neighbours near each other, few crossings.

use super::layers::Layers;

/// Layers are gone through this many times, down and up.
const ROUNDS: usize = 12;
/// Orders with so many segments are not improved any further: it would take seconds.
const MANY: usize = 50_000;

/// Orders every layer by the middle of each node's neighbours; keeps the order with the fewest crossings.
///
/// Deterministic: what is equally good stays as it was.
pub fn order(graph: &mut Layers) {
    let neighbours = Neighbours::of(graph);
    let mut best = graph.layers.clone();
    let mut least = crossings(graph);
    for round in 0..ROUNDS {
        if least == 0 || graph.segments.len() > MANY {
            break;
        }
        let count = graph.layers.len();
        let down = round % 2 == 0;
        let mut position = positions(graph);
        for step in 1..count {
            let layer = if down { step } else { count - 1 - step };
            let beside = if down { &neighbours.above } else { &neighbours.below };
            sort(&mut graph.layers[layer], beside, &position);
            for (place, node) in graph.layers[layer].iter().enumerate() {
                position[*node] = place;
            }
        }
        swap_neighbours(graph, &neighbours);
        let found = crossings(graph);
        if found < least {
            least = found;
            best.clone_from(&graph.layers);
        }
    }
    graph.layers = best;
}

struct Neighbours {
    above: Vec<Vec<usize>>,
    below: Vec<Vec<usize>>,
}

impl Neighbours {
    fn of(graph: &Layers) -> Self {
        let empty = || vec![Vec::new(); graph.nodes.len()];
        let mut found = Self { above: empty(), below: empty() };
        for segment in &graph.segments {
            found.below[segment.from].push(segment.to);
            found.above[segment.to].push(segment.from);
        }
        found
    }
}

fn positions(graph: &Layers) -> Vec<usize> {
    let mut position = vec![0; graph.nodes.len()];
    for layer in &graph.layers {
        for (place, node) in layer.iter().enumerate() {
            position[*node] = place;
        }
    }
    position
}

/// Sorts those that have neighbours by where these are; the others keep their places.
fn sort(layer: &mut [usize], beside: &[Vec<usize>], position: &[usize]) {
    let middle = |node: usize| {
        let sum: usize = beside[node].iter().map(|neighbour| position[*neighbour]).sum();
        sum as f64 / beside[node].len() as f64
    };
    let places: Vec<usize> = (0..layer.len()).filter(|place| !beside[layer[*place]].is_empty()).collect();
    let mut sorted: Vec<(f64, usize)> = places.iter().map(|place| (middle(layer[*place]), layer[*place])).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (place, (_, node)) in places.into_iter().zip(sorted) {
        layer[place] = node;
    }
}

/// Exchanges two that stand side by side wherever that saves crossings.
fn swap_neighbours(graph: &mut Layers, neighbours: &Neighbours) {
    let mut position = positions(graph);
    let mut better = true;
    let mut left = ROUNDS;
    while better && left > 0 {
        better = false;
        left -= 1;
        for layer in &mut graph.layers {
            for place in 1..layer.len() {
                let (a, b) = (layer[place - 1], layer[place]);
                let crossed = |a: usize, b: usize| {
                    inverted(&neighbours.above[a], &neighbours.above[b], &position)
                        + inverted(&neighbours.below[a], &neighbours.below[b], &position)
                };
                if crossed(b, a) < crossed(a, b) {
                    layer.swap(place - 1, place);
                    (position[a], position[b]) = (place, place - 1);
                    better = true;
                }
            }
        }
    }
}

/// Returns how many segments of a left node cross those of the one at its right.
fn inverted(left: &[usize], right: &[usize], position: &[usize]) -> usize {
    left.iter().map(|a| right.iter().filter(|b| position[*a] > position[**b]).count()).sum()
}

/// Returns how many pairs of segments cross.
pub fn crossings(graph: &Layers) -> usize {
    let position = positions(graph);
    let mut by_layer: Vec<Vec<(usize, usize)>> = vec![Vec::new(); graph.layers.len()];
    for segment in &graph.segments {
        by_layer[graph.nodes[segment.from].layer].push((position[segment.from], position[segment.to]));
    }
    let mut all = 0;
    for (layer, mut ends) in by_layer.into_iter().enumerate().filter(|(_, ends)| !ends.is_empty()) {
        ends.sort_unstable();
        // A Fenwick tree counts the ends seen so far that lie further right.
        let width = graph.layers[layer + 1].len();
        let mut tree = vec![0usize; width + 1];
        for (seen, (_, to)) in ends.into_iter().enumerate() {
            let mut not_right = 0;
            let mut at = to + 1;
            while at > 0 {
                not_right += tree[at];
                at &= at - 1;
            }
            all += seen - not_right;
            let mut at = to + 1;
            while at <= width {
                tree[at] += 1;
                at += at & at.wrapping_neg();
            }
        }
    }
    all
}
