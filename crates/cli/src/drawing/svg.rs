//! A picture as SVG: for light and for dark, readable without colours.

use std::fmt::Write;

use super::{
    Origin, Picture,
    layers::{Edge, Look, Node, Size, TooLarge},
    layout::{Layout, Line, Placed, lay_out},
};
use crate::{markup::escaped, present::Tone, skips::at_end};

/// The width of a character of the larger and of the smaller letters; fonts of one width are at most so wide.
const LETTER: f64 = 8.0;
const SMALL: f64 = 7.0;
const STEP_HEIGHT: f64 = 30.0;
const STATE_HEIGHT: f64 = 46.0;
const ARTIFACT_HEIGHT: f64 = 20.0;
/// Around it all.
const MARGIN: f64 = 20.0;
/// Over it all.
const HEADING: f64 = 34.0;

const STYLE: &str = "\
text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1f2328;\
text-anchor:middle}
.title{font-size:14px;font-weight:600;text-anchor:start}
.name{font-size:13px}
.small{font-size:11px;fill:#57606a}
.paper{fill:#ffffff}
.step{fill:#f6f8fa;stroke:#57606a;stroke-width:1.2}
.artifact{fill:#ffffff;stroke:#c3c9d0}
.data{fill:#fff8e6;stroke:#c9a227}
.line{fill:none;stroke:#8c959f;stroke-width:1.3}
.order{stroke-dasharray:5 4}
.head{fill:#8c959f}
.good{stroke:#1a7f37}.busy{stroke:#9a6700}.bad{stroke:#cf222e;stroke-width:2}.dim{stroke:#8c959f}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.small{fill:#9198a1}
.paper{fill:#0d1117}
.step{fill:#1c2128;stroke:#9198a1}
.artifact{fill:#0d1117;stroke:#444c56}
.data{fill:#2b2410;stroke:#9e7c0c}
.line{stroke:#6e7681}
.head{fill:#6e7681}
.good{stroke:#3fb950}.busy{stroke:#d29922}.bad{stroke:#f85149}.dim{stroke:#6e7681}
}
";

/// Returns the picture as an SVG document.
///
/// Pure and deterministic.
///
/// # Errors
/// [`TooLarge`] if nobody could look at it.
pub fn svg(picture: &Picture) -> Result<String, TooLarge> {
    let (nodes, edges) = graph(picture);
    let layout = lay_out(&nodes, &edges)?;
    let heading = heading(picture);
    let width = (layout.size.width.max(letters(&heading) * 8.6) + 2.0 * MARGIN).ceil();
    let height = layout.size.height + 2.0 * MARGIN + HEADING;
    let aside = ((width - layout.size.width) / 2.0).round();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>{heading}</title>\n<style>\n{STYLE}</style>\n\
         <defs><marker id=\"to\" viewBox=\"0 0 8 8\" refX=\"7.5\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"head\" d=\"M0 0.5L8 4L0 7.5z\"/></marker></defs>\n\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"{}\">{heading}</text>\n\
         <g transform=\"translate({aside} {})\">\n",
        MARGIN + 8.0,
        MARGIN + HEADING,
    );
    lines(&mut out, picture, &layout);
    for (step, place) in picture.steps.iter().zip(&layout.boxes) {
        let Placed { x, y, size } = *place;
        let middle = x + size.width / 2.0;
        let tone = step.state.map_or("", |state| class(state.mark().0));
        // What a pointer over the step shows.
        let title = match (step.condition.as_str(), step.handler) {
            ("", None) => String::new(),
            ("", Some(handler)) => format!("<title>{}</title>", at_end(handler)),
            (condition, _) => format!("<title>when {}</title>", escaped(condition)),
        };
        let _infallible = write!(
            out,
            "<g>{title}<rect class=\"step {tone}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"6\"/>\
             <text class=\"name\" x=\"{middle}\" y=\"{}\">{}</text>",
            size.width,
            size.height,
            y + 19.0,
            escaped(&step.name)
        );
        if picture.run.is_some() {
            let state = state_of(step.state);
            let _infallible = write!(out, "<text class=\"small\" x=\"{middle}\" y=\"{}\">{state}</text>", y + 36.0);
        }
        out.push_str("</g>\n");
    }
    for (artifact, place) in picture.artifacts.iter().zip(&layout.boxes[picture.steps.len()..]) {
        let Placed { x, y, size } = *place;
        let class = if artifact.from == Origin::Data { "data" } else { "artifact" };
        let _infallible = writeln!(
            out,
            "<g><rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"10\"/>\
             <text class=\"small\" x=\"{}\" y=\"{}\">{}</text></g>",
            size.width,
            size.height,
            x + size.width / 2.0,
            y + 14.0,
            escaped(&label(artifact))
        );
    }
    out.push_str("</g>\n</svg>\n");
    Ok(out)
}

fn lines(out: &mut String, picture: &Picture, layout: &Layout) {
    for Line { points: [a, b, c, d], look, into } in &layout.lines {
        let middle = ((b.1 + c.1) / 2.0).round();
        let mut path = format!("M{} {}", a.0, a.1);
        if a != b {
            let _infallible = write!(path, "V{}", b.1);
        }
        let _infallible = if b.0 == c.0 {
            write!(path, "V{}", c.1)
        } else {
            write!(path, "C{} {middle} {} {middle} {} {}", b.0, c.0, c.0, c.1)
        };
        if c != d {
            let _infallible = write!(path, "V{}", d.1);
        }
        let class = if *look == Look::Dashed { "line order" } else { "line" };
        let head = if into.is_some_and(|into| into < picture.steps.len()) { " marker-end=\"url(#to)\"" } else { "" };
        let _infallible = writeln!(out, "<path class=\"{class}\" d=\"{path}\"{head}/>");
    }
}

/// Returns the steps, then the artifacts, as boxes in layers: steps in odd ones, artifacts in between.
fn graph(picture: &Picture) -> (Vec<Node>, Vec<Edge>) {
    let height = if picture.run.is_some() { STATE_HEIGHT } else { STEP_HEIGHT };
    let mut nodes: Vec<Node> = picture
        .steps
        .iter()
        .map(|step| {
            let state = if picture.run.is_some() { letters(state_of(step.state).as_str()) * SMALL } else { 0.0 };
            let width = (letters(&step.name) * LETTER).max(state) + 24.0;
            Node { size: Size { width: even(width.max(64.0)), height }, layer: 2 * step.rank + 1 }
        })
        .collect();
    let mut edges = Vec::new();
    for artifact in &picture.artifacts {
        let layer = match artifact.from {
            Origin::Step(maker) => 2 * picture.steps[maker].rank + 2,
            // Right above its first user.
            Origin::Data => 2 * artifact.uses.iter().map(|(user, _)| picture.steps[*user].rank).min().unwrap_or(0),
        };
        let at = nodes.len();
        let width = even(letters(&label(artifact)) * SMALL + 18.0);
        nodes.push(Node { size: Size { width, height: ARTIFACT_HEIGHT }, layer });
        if let Origin::Step(maker) = artifact.from {
            edges.push(Edge { from: maker, to: at, look: Look::Solid });
        }
        let mut users: Vec<usize> = artifact.uses.iter().map(|(user, _)| *user).collect();
        users.dedup();
        edges.extend(users.into_iter().map(|user| Edge { from: at, to: user, look: Look::Solid }));
    }
    edges.extend(picture.order.iter().map(|(from, to)| Edge { from: *from, to: *to, look: Look::Dashed }));
    let decides = picture.conditions.iter().map(|one| Edge { from: one.from, to: one.to, look: Look::Dashed });
    edges.extend(decides);
    // No data at the top: the drawing begins with the first step.
    let first = nodes.iter().map(|node| node.layer).min().unwrap_or(0);
    nodes.iter_mut().for_each(|node| node.layer -= first);
    (nodes, edges)
}

fn label(artifact: &super::Artifact) -> String {
    match artifact.from {
        Origin::Data => format!("data.{}", artifact.name),
        Origin::Step(_) => artifact.name.clone(),
    }
}

fn state_of(state: Option<crate::condition::StepCondition>) -> String {
    state.map_or_else(|| "not in this run".to_owned(), |state| format!("{} {}", state.mark().1, state.as_str()))
}

fn heading(picture: &Picture) -> String {
    let run = picture.run.as_ref().map(|run| format!(" · run {} {}", run.short, run.condition.as_str()));
    escaped(&format!("{}{}", picture.pipeline, run.unwrap_or_default()))
}

fn letters(text: &str) -> f64 {
    text.chars().count() as f64
}

/// Returns a width that has a middle without a fraction.
fn even(width: f64) -> f64 {
    (width / 2.0).ceil() * 2.0
}

const fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Busy => "busy",
        Tone::Bad => "bad",
        Tone::Dim | Tone::Plain | Tone::Strong => "dim",
    }
}
