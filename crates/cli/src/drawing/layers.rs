//! A graph in layers: every long edge is led through each layer that it crosses.

use std::collections::BTreeMap;

/// The size of a box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// From left to right.
    pub width: f64,
    /// From top to bottom.
    pub height: f64,
}

/// A box to be placed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    /// Its size.
    pub size: Size,
    /// Its layer; the highest is 0.
    pub layer: usize,
}

/// How an edge looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Look {
    /// Something flows.
    Solid,
    /// Only an order.
    Dashed,
}

/// An edge from a node to one in a lower layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Where it begins.
    pub from: usize,
    /// Where it ends.
    pub to: usize,
    /// How it looks.
    pub look: Look,
}

/// A piece of an edge, from one layer to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// A node, or a bend.
    pub from: usize,
    /// A node, or a bend.
    pub to: usize,
    /// How it looks.
    pub look: Look,
}

/// Nodes and bends by layer, and the segments between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Layers {
    /// All nodes in their own order, then the bends.
    pub nodes: Vec<Node>,
    /// How many of them are no bends.
    pub real: usize,
    /// The members of each layer, from left to right.
    pub layers: Vec<Vec<usize>>,
    /// The segments; each leads from a layer to the next.
    pub segments: Vec<Segment>,
}

/// A graph with more nodes and bends than this is not drawn.
pub const MOST: usize = 20_000;

/// A graph that is too large to be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// A bend takes this much room.
const BEND: Size = Size { width: 2.0, height: 0.0 };

/// Returns the graph in layers. The edges of a node that look the same share their bends, as a bus does.
///
/// # Errors
/// [`TooLarge`] beyond [`MOST`] nodes and bends.
pub fn layers(nodes: &[Node], edges: &[Edge]) -> Result<Layers, TooLarge> {
    let mut all = nodes.to_vec();
    let mut segments = Vec::new();
    // The node or bend that leads on from each origin, by layer.
    let mut buses: BTreeMap<(usize, Look), Vec<usize>> = BTreeMap::new();
    for &Edge { from, to, look } in edges {
        debug_assert!(nodes[from].layer < nodes[to].layer, "edges lead downward");
        let bus = buses.entry((from, look)).or_insert_with(|| vec![from]);
        while bus.len() < nodes[to].layer - nodes[from].layer {
            let bend = all.len();
            segments.push(Segment { from: bus[bus.len() - 1], to: bend, look });
            all.push(Node { size: BEND, layer: nodes[from].layer + bus.len() });
            bus.push(bend);
        }
        segments.push(Segment { from: bus[nodes[to].layer - nodes[from].layer - 1], to, look });
        if all.len() > MOST {
            return Err(TooLarge);
        }
    }
    let mut layers = vec![Vec::new(); all.iter().map(|node| node.layer + 1).max().unwrap_or(0)];
    for (at, node) in all.iter().enumerate() {
        layers[node.layer].push(at);
    }
    Ok(Layers { real: nodes.len(), nodes: all, layers, segments })
}
