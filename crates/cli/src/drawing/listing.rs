//! A picture as lines of text: layer by layer, what each step is and what it needs.

use std::collections::BTreeMap;

use super::{Origin, Picture};
use crate::{
    condition::StepCondition,
    present::{Paint, Tone, count},
    skips::at_end,
};

/// How much is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// As much as people read; the rest is counted.
    Readable,
    /// Every step with all that it needs.
    All,
}

/// So many layers are shown from the top, and so many from the end.
const FIRST: usize = 20;
const LAST: usize = 5;
/// So many steps of a layer are shown.
const BESIDE: usize = 12;
/// So many layers in between are shown because something there needs attention.
const NOTABLE: usize = 10;
/// So many lines tell what a step needs.
const LINES: usize = 3;

/// Returns the picture as text of at most `width` columns, unless a single name is longer.
pub fn listing(picture: &Picture, paint: Paint, width: usize, extent: Extent) -> String {
    let layers = layers(picture);
    let mut out = heading(picture, paint, layers.len());
    let wanted = wanted(picture, &layers, extent);
    let needs = needs(picture);
    let columns = Columns::of(picture, &wanted, width);
    let mut skipped: Vec<usize> = Vec::new();
    for (rank, members) in layers.iter().enumerate() {
        let Some(shown) = wanted.get(&rank) else {
            skipped.extend(members);
            continue;
        };
        gap(&mut out, picture, paint, &mut skipped);
        out.push_str(&format!("{}\n", paint.tone(Tone::Dim, &format!("layer {}", rank + 1))));
        for &step in shown {
            columns.step(&mut out, picture, paint, step, &needs[step], extent);
        }
        let rest: Vec<usize> = members.iter().copied().filter(|step| !shown.contains(step)).collect();
        if !rest.is_empty() {
            out.push_str(&format!("  … and {} more{}\n", rest.len(), summary(picture, &rest)));
        }
    }
    gap(&mut out, picture, paint, &mut skipped);
    out
}

fn heading(picture: &Picture, paint: Paint, layers: usize) -> String {
    let data = picture.artifacts.iter().filter(|artifact| artifact.from == Origin::Data).count();
    let mut counts = vec![count(picture.steps.len(), "step"), format!("in {}", count(layers, "layer"))];
    if data > 0 {
        counts.push(format!("from {}", count(data, "data set")));
    }
    let mut out = format!("{}  {}\n", paint.tone(Tone::Strong, &picture.pipeline), counts.join(" "));
    if let Some(run) = &picture.run {
        out.push_str(&format!("run {}  {}\n", run.id, run.condition.as_str()));
    }
    out
}

/// Returns the steps of every layer, in the order of the file.
fn layers(picture: &Picture) -> Vec<Vec<usize>> {
    let mut layers = vec![Vec::new(); picture.steps.iter().map(|step| step.rank + 1).max().unwrap_or(0)];
    for (at, step) in picture.steps.iter().enumerate() {
        layers[step.rank].push(at);
    }
    layers
}

/// Returns whether a step is one that people look for.
fn is_notable(state: Option<StepCondition>) -> bool {
    matches!(
        state,
        Some(StepCondition::Failed | StepCondition::Running | StepCondition::Healing | StepCondition::Interrupted)
    )
}

/// Returns which steps are shown, by layer.
fn wanted(picture: &Picture, layers: &[Vec<usize>], extent: Extent) -> BTreeMap<usize, Vec<usize>> {
    if extent == Extent::All {
        return layers.iter().cloned().enumerate().collect();
    }
    let notable = |layer: &Vec<usize>| layer.iter().any(|step| is_notable(picture.steps[*step].state));
    let mut left = NOTABLE;
    let mut wanted = BTreeMap::new();
    for (rank, layer) in layers.iter().enumerate() {
        // One line that counts a single layer is no shorter than the layer.
        let at_an_end = rank < FIRST || rank + LAST >= layers.len() || layers.len() <= FIRST + LAST + 1;
        let kept = at_an_end || left > 0 && notable(layer);
        if !kept {
            continue;
        }
        left -= usize::from(!at_an_end);
        wanted.insert(rank, chosen(picture, layer));
    }
    wanted
}

/// Returns the steps of a layer that are shown: those that people look for first, in the order of the file.
fn chosen(picture: &Picture, layer: &[usize]) -> Vec<usize> {
    if layer.len() <= BESIDE + 1 {
        return layer.to_vec();
    }
    let mut chosen = layer.to_vec();
    chosen.sort_by_key(|step| !is_notable(picture.steps[*step].state));
    chosen.truncate(BESIDE);
    chosen.sort_unstable();
    chosen
}

fn gap(out: &mut String, picture: &Picture, paint: Paint, skipped: &mut Vec<usize>) {
    if skipped.is_empty() {
        return;
    }
    let ranks: std::collections::BTreeSet<usize> = skipped.iter().map(|step| picture.steps[*step].rank).collect();
    let text = format!(
        "… {} with {}{}",
        count(ranks.len(), "more layer"),
        count(skipped.len(), "step"),
        summary(picture, skipped)
    );
    out.push_str(&format!("{}\n", paint.tone(Tone::Dim, &text)));
    skipped.clear();
}

/// Returns how the steps are, counted: `: 3 done, 2 waiting`; nothing without a run.
fn summary(picture: &Picture, steps: &[usize]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for state in steps.iter().filter_map(|step| picture.steps[*step].state) {
        match counts.iter_mut().find(|(word, _)| *word == state.as_str()) {
            Some((_, n)) => *n += 1,
            None => counts.push((state.as_str(), 1)),
        }
    }
    if counts.is_empty() {
        return String::new();
    }
    let counts: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    format!(": {}", counts.join(", "))
}

/// Returns what each step needs: artifacts by name, then `after`.
fn needs(picture: &Picture) -> Vec<Vec<String>> {
    let mut needs = vec![Vec::new(); picture.steps.len()];
    for artifact in &picture.artifacts {
        let name = match artifact.from {
            Origin::Data => format!("data.{}", artifact.name),
            Origin::Step(maker) => format!("{}.{}", picture.steps[maker].name, artifact.name),
        };
        let mut users: Vec<usize> = artifact.uses.iter().map(|(user, _)| *user).collect();
        users.dedup();
        users.into_iter().for_each(|user| needs[user].push(name.clone()));
    }
    for (before, after) in &picture.order {
        needs[*after].push(format!("after {}", picture.steps[*before].name));
    }
    for (step, needs) in picture.steps.iter().zip(&mut needs) {
        if !step.condition.is_empty() {
            needs.push(format!("when {}", step.condition));
        }
        needs.extend(step.handler.map(|handler| at_end(handler).to_owned()));
    }
    needs
}

/// How wide the columns are.
struct Columns {
    name: usize,
    state: usize,
    width: usize,
}

impl Columns {
    fn of(picture: &Picture, wanted: &BTreeMap<usize, Vec<usize>>, width: usize) -> Self {
        let shown = || wanted.values().flatten().map(|step| &picture.steps[*step]);
        // A few long names do not push everything to the right.
        let name = shown().map(|step| step.name.len()).max().unwrap_or(0).min(width * 2 / 5);
        let states = shown().filter_map(|step| step.state).map(|state| state.as_str().len());
        Self { name, state: states.max().unwrap_or(0), width }
    }

    fn step(&self, out: &mut String, picture: &Picture, paint: Paint, step: usize, needs: &[String], extent: Extent) {
        let shown = &picture.steps[step];
        let (tone, sign, word) = match shown.state {
            Some(state) => (state.mark().0, format!("{} ", state.mark().1), state.as_str()),
            None if picture.run.is_some() => (Tone::Dim, "  ".to_owned(), ""),
            None => (Tone::Plain, String::new(), ""),
        };
        let mut start = format!("  {sign}{:name$}", shown.name, name = self.name);
        if self.state > 0 {
            start.push_str(&format!("  {word:state$}", state = self.state));
        }
        let indent = 2 + sign.chars().count() + self.name + if self.state > 0 { 2 + self.state } else { 0 } + 2;
        let mut line = start;
        if !needs.is_empty() {
            let most = if extent == Extent::All { usize::MAX } else { LINES };
            let lines = wrapped(needs, self.width.saturating_sub(indent + 2).max(16), most);
            let over = shown.name.len() > self.name;
            for (at, text) in lines.iter().enumerate() {
                if at == 0 && !over {
                    line.push_str("  ← ");
                } else {
                    out.push_str(&format!("{}\n", paint.tone(tone, line.trim_end())));
                    line = format!("{}{}", " ".repeat(indent), if at == 0 { "← " } else { "  " });
                }
                line.push_str(text);
            }
        }
        out.push_str(&format!("{}\n", paint.tone(tone, line.trim_end())));
    }
}

/// Returns the words, with commas, on lines of at most `width`; what is over after `most` lines is counted.
fn wrapped(words: &[String], width: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for (at, word) in words.iter().enumerate() {
        let is_last = at + 1 == words.len();
        let word = format!("{word}{}", if is_last { "" } else { "," });
        let on_last_line = lines.len() + 1 == most;
        let more = format!(" … {} more", words.len() - at);
        // The last line keeps room for the count of what is left out.
        let kept = if on_last_line && !is_last { more.len() } else { 0 };
        if line.is_empty() || line.len() + 1 + word.len() + kept <= width {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(&word);
        } else if on_last_line {
            line.push_str(&more);
            break;
        } else {
            lines.push(std::mem::replace(&mut line, word));
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
