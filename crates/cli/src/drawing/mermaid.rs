//! A picture as Mermaid text, for pages that draw it themselves.

use std::fmt::Write;

use super::{Decides, Origin, Picture};
use crate::present::Tone;

/// Returns the picture as a Mermaid flowchart.
///
/// Nodes are named by their number and not by the user's names, some of which mean something to Mermaid (`end`).
pub fn mermaid(picture: &Picture) -> String {
    let mut out = format!("---\ntitle: \"{}\"\n---\nflowchart TD\n", title(picture));
    for (at, step) in picture.steps.iter().enumerate() {
        let state = match (&picture.run, step.state) {
            (None, _) => String::new(),
            (Some(_), None) => "<br/>not in this run".to_owned(),
            (Some(_), Some(state)) => format!("<br/>{} {}", state.mark().1, state.as_str()),
        };
        let _infallible = writeln!(out, "    s{at}[\"{}{state}\"]", escaped(&step.name));
    }
    for (at, artifact) in picture.artifacts.iter().enumerate() {
        if artifact.from == Origin::Data {
            let _infallible = writeln!(out, "    d{at}[(\"data.{}\")]", escaped(&artifact.name));
        }
        let mut users: Vec<usize> = artifact.uses.iter().map(|(user, _)| *user).collect();
        users.dedup();
        for user in users {
            let _infallible = match artifact.from {
                Origin::Data => writeln!(out, "    d{at} --> s{user}"),
                Origin::Step(maker) => writeln!(out, "    s{maker} -->|\"{}\"| s{user}", escaped(&artifact.name)),
            };
        }
    }
    for (before, after) in &picture.order {
        let _infallible = writeln!(out, "    s{before} -.->|after| s{after}");
    }
    for Decides { from, output, to } in &picture.conditions {
        let text = escaped(&format!("{output}: when {}", picture.steps[*to].condition));
        let _infallible = writeln!(out, "    s{from} -.->|\"{text}\"| s{to}");
    }
    for (class, tone, style) in [
        ("good", Tone::Good, "stroke:#1a7f37"),
        ("busy", Tone::Busy, "stroke:#9a6700"),
        ("bad", Tone::Bad, "stroke:#cf222e,stroke-width:2px"),
    ] {
        let steps = picture.steps.iter().enumerate();
        let of_tone = steps.filter(|(_, step)| step.state.is_some_and(|state| state.mark().0 == tone));
        let names: Vec<String> = of_tone.map(|(at, _)| format!("s{at}")).collect();
        if !names.is_empty() {
            let _infallible = writeln!(out, "    classDef {class} {style}\n    class {} {class}", names.join(","));
        }
    }
    out
}

fn title(picture: &Picture) -> String {
    let run = picture.run.as_ref().map(|run| format!(", run {} {}", run.short, run.condition.as_str()));
    format!("{}{}", picture.pipeline, run.unwrap_or_default()).replace('\\', "\\\\").replace('"', "\\\"")
}

/// Returns text that stands for itself between quotes: Mermaid has codes where HTML has entities.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | '.' | ' ' => out.push(c),
            other => {
                let _infallible = write!(out, "#{};", u32::from(other));
            }
        }
    }
    out
}
