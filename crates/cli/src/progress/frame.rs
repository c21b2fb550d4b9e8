//! The screen as lines: a pure function of what is known, the size of the terminal and the time.

use prunella_journal::{StepIndex, StopHow, Topology};
use prunella_model::Span;

use super::{
    model::{Model, Phase, Shown, word},
    text::{fit, width},
};
use crate::{
    present::{Tone, count, lasting},
    skips::at_end,
};

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

/// Parts of a line, each in its tone.
pub type Row = Vec<(Tone, String)>;

/// The most that a name may take of a line.
const NAME: usize = 24;
const HINT: &str = "Ctrl-C stops in checkpoints, again to run goes on";

/// Returns the lines to show, none wider than the terminal and no more than it has rows.
///
/// With few steps every step has a line, in the order of the file. Otherwise those that failed, then those that are at
/// work, then those that ended last; the rest is counted. The cost does not depend on the size of the graph.
pub fn frame(model: &Model, title: &str, now: Span, size: Size) -> Vec<Row> {
    let mut rows = vec![head(model, title, size)];
    let Some(topology) = &model.topology else { return rows };
    // The line below the last one, and the head.
    let room = size.rows.saturating_sub(2).max(1);
    let few = if model.knows_every_step() { lines(model, topology) } else { Vec::new() };
    let all = model.knows_every_step() && few.len() <= room;
    let mut steps = if all { few } else { chosen(model, room - 1) };
    // The items of a step stand below it.
    steps.sort_unstable_by_key(|step| (topology.group_of(*step).unwrap_or(*step), *step));
    let names = steps.iter().map(|step| width(&topology.id(*step).to_string())).max().unwrap_or(0).min(NAME);
    for step in &steps {
        rows.push(row(model, topology, *step, names, now, size));
    }
    if !all {
        rows.push(rest(model, &steps, size));
    }
    rows
}

fn head(model: &Model, title: &str, size: Size) -> Row {
    let tally = model.tally;
    let mut counts = vec![];
    let open = tally.steps.saturating_sub(tally.done + tally.skipped + tally.failed + tally.blocked);
    let mut add = |n: u32, what: &str| {
        if n > 0 {
            counts.push(format!("{n} {what}"));
        }
    };
    add(tally.reused, "reused");
    add(tally.done.saturating_sub(tally.reused), "done");
    add(open, "to run");
    add(tally.skipped, "skipped");
    add(tally.failed, "failed");
    add(tally.blocked, "blocked");
    let mut text = title.to_owned();
    if model.topology.is_some() {
        text = format!("{title}  {}: {}", count(tally.steps as usize, "step"), counts.join(", "));
    }
    let text = fit(&text, size.columns);
    let (tone, hint) = match model.stopping {
        _ if model.ended => (Tone::Dim, ""),
        None => (Tone::Dim, HINT),
        Some(StopHow::Checkpoint) => (Tone::Busy, "stopping: letting steps checkpoint (again: now)"),
        Some(StopHow::Now) => (Tone::Busy, "stopping now"),
    };
    let used = width(&text);
    let mut row = vec![(Tone::Strong, text)];
    if hint.is_empty() {
        return row;
    }
    if used + 4 + width(hint) <= size.columns {
        let gap = (size.columns - used - width(hint)).min(10);
        row.push((Tone::Plain, " ".repeat(gap)));
        row.push((tone, hint.to_owned()));
    } else if model.stopping.is_some() && size.columns > 20 {
        // What was asked for matters more than the counts.
        row = vec![(tone, fit(hint, size.columns))];
    }
    row
}

/// Returns the steps that have a line where there is room for all: of items those that something happens to.
fn lines(model: &Model, topology: &Topology) -> Vec<StepIndex> {
    let matters = |step: &StepIndex| match model.shown.get(step).map(|shown| &shown.phase) {
        _ if topology.group_of(*step).is_none() => true,
        Some(Phase::Done { .. } | Phase::Reused | Phase::Blocked { .. }) | None => false,
        Some(_) => true,
    };
    topology.indices().filter(matters).collect()
}

/// Returns the steps that matter most, at most as many as there is room for.
fn chosen(model: &Model, room: usize) -> Vec<StepIndex> {
    let of = |wanted: fn(&Phase) -> bool| {
        model.shown.iter().filter(move |(_, shown)| wanted(&shown.phase)).map(|(step, _)| *step)
    };
    let busy =
        |phase: &Phase| matches!(phase, Phase::Starting | Phase::Running | Phase::Healing { .. } | Phase::Held { .. });
    let failed: Vec<StepIndex> = of(|phase| matches!(phase, Phase::Failed { .. })).take(room.div_ceil(2)).collect();
    let busy: Vec<StepIndex> = of(busy).take(room.saturating_sub(failed.len())).collect();
    let left = room.saturating_sub(failed.len() + busy.len());
    let mut done: Vec<StepIndex> = of(|phase| matches!(phase, Phase::Done { .. })).collect();
    done.drain(..done.len().saturating_sub(left));
    failed.into_iter().chain(busy).chain(done).collect()
}

/// Returns the line that counts the steps without a line of their own.
fn rest(model: &Model, steps: &[StepIndex], size: Size) -> Row {
    let tally = model.tally;
    let mut seen = (0, 0, 0);
    for shown in steps.iter().filter_map(|step| model.shown.get(step)) {
        match shown.phase {
            Phase::Done { .. } | Phase::Reused => seen.0 += 1,
            Phase::Starting | Phase::Running => seen.1 += 1,
            Phase::Failed { .. } => seen.2 += 1,
            _ => {}
        }
    }
    let settled = tally.done + tally.skipped + tally.failed + tally.blocked;
    let others = [
        (tally.done.saturating_sub(seen.0), "done"),
        (tally.running.saturating_sub(seen.1), "running"),
        (tally.failed.saturating_sub(seen.2), "failed"),
        (tally.skipped, "skipped"),
        (tally.blocked, "blocked"),
        (tally.steps.saturating_sub(settled + tally.running), "waiting"),
    ];
    let others: Vec<String> = others.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    vec![(Tone::Dim, fit(&format!("  … {}", others.join(", ")), size.columns))]
}

fn row(model: &Model, topology: &Topology, step: StepIndex, names: usize, now: Span, size: Size) -> Row {
    if let Some(&(done, all)) = model.groups.get(&step) {
        return group_row(model, topology, step, (done, all), names, size);
    }
    let name = fit(&topology.id(step).to_string(), names);
    let name = format!("{name}{}", " ".repeat(names.saturating_sub(width(&name))));
    let shown = model.shown.get(&step);
    let (tone, mark) = match shown.map(|shown| &shown.phase) {
        None => (Tone::Dim, "·"),
        Some(Phase::Reused | Phase::Done { .. }) => (Tone::Good, "✓"),
        Some(Phase::Starting | Phase::Running | Phase::Healing { .. }) => (Tone::Busy, "↻"),
        Some(Phase::Stopped) => (Tone::Busy, "■"),
        Some(Phase::Held { .. }) => (Tone::Dim, "·"),
        Some(Phase::Failed { .. }) => (Tone::Bad, "✗"),
        Some(Phase::Blocked { .. } | Phase::Skipped { .. }) => (Tone::Dim, "–"),
    };
    let text = match shown {
        Some(shown) => words(shown, now),
        None => waits(model, topology, step),
    };
    let room = size.columns.saturating_sub(4 + names);
    let plain = if shown.is_none() { Tone::Dim } else { Tone::Plain };
    vec![(tone, mark.to_owned()), (Tone::Plain, format!(" {name}  ")), (plain, fit(&text, room))]
}

/// Returns the line of a step that fans out: how many of its items are done.
fn group_row(
    model: &Model,
    topology: &Topology,
    step: StepIndex,
    (done, all): (u32, u32),
    names: usize,
    size: Size,
) -> Row {
    let name = fit(&topology.id(step).to_string(), names);
    let name = format!("{name}{}", " ".repeat(names.saturating_sub(width(&name))));
    let of_items = |wanted: fn(&Phase) -> bool| {
        let items =
            model.shown.iter().filter(|(item, shown)| topology.group_of(**item) == Some(step) && wanted(&shown.phase));
        items.count()
    };
    let failed = of_items(|phase| matches!(phase, Phase::Failed { .. }));
    let busy = of_items(|phase| matches!(phase, Phase::Starting | Phase::Running | Phase::Healing { .. }));
    let (tone, mark) = match (done == all, failed, busy) {
        (true, ..) => (Tone::Good, "✓"),
        (_, 1.., _) => (Tone::Bad, "✗"),
        (_, _, 1..) => (Tone::Busy, "↻"),
        _ => (Tone::Dim, "·"),
    };
    let failed = if failed > 0 { format!(" · {failed} failed") } else { String::new() };
    let text = format!("{done} of {}{failed}", count(all as usize, "item"));
    let room = size.columns.saturating_sub(4 + names);
    vec![(tone, mark.to_owned()), (Tone::Plain, format!(" {name}  ")), (Tone::Plain, fit(&text, room))]
}

/// Returns what a step that has not begun waits for.
fn waits(model: &Model, topology: &Topology, step: StepIndex) -> String {
    let done = |need: &StepIndex| {
        if let Some((done, all)) = model.groups.get(need) {
            return done == all;
        }
        model
            .shown
            .get(need)
            .is_some_and(|shown| matches!(shown.phase, Phase::Done { .. } | Phase::Reused | Phase::Skipped { .. }))
    };
    if let Some(handler) = topology.handler(step) {
        return at_end(handler).to_owned();
    }
    let mut open = topology.needs(step).iter().filter(|need| !done(need));
    match (open.next(), open.count()) {
        _ if model.stopping.is_some() => "not begun".to_owned(),
        (None, _) => "waits for its turn".to_owned(),
        (Some(need), 0) => format!("waits for {}", topology.id(*need)),
        (Some(need), more) => format!("waits for {} and {}", topology.id(*need), count(more, "other")),
    }
}

/// Returns what there is to say of a step.
pub fn words(shown: &Shown, now: Span) -> String {
    let ago = |then: Span| lasting(now.as_millis().saturating_sub(then.as_millis()));
    let story = shown.story.as_ref().map(|story| format!("attempt {}: {story}", shown.epoch));
    let parts: Vec<String> = match &shown.phase {
        Phase::Reused => vec!["reused".to_owned()],
        Phase::Starting => {
            let restoring = shown.story.as_ref().map(|story| format!("{story}, coming back"));
            match (shown.moving(), restoring) {
                (Some(moving), story) => story.into_iter().chain([moving]).collect(),
                (None, restoring) => vec![restoring.unwrap_or_else(|| "starting".to_owned())],
            }
        }
        // Its program has ended by then: what it said is no news.
        Phase::Running if shown.moving().is_some() => shown.moving().into_iter().chain(story).collect(),
        Phase::Running => {
            let said = shown.said().map_or_else(|| format!("runs {}", ago(shown.running_since)), str::to_owned);
            let checkpoint = shown.checkpoint.map(|then| format!("checkpoint {} ago", ago(then)));
            [Some(said), checkpoint, story].into_iter().flatten().collect()
        }
        Phase::Healing { not_before } => {
            let wait = not_before.as_millis().saturating_sub(now.as_millis());
            let next = if wait > 0 { format!("again in {}", lasting(wait)) } else { "again".to_owned() };
            shown.story.iter().cloned().chain([next]).collect()
        }
        Phase::Stopped => {
            let place = shown.said().map(|said| format!("stopped after: {said}"));
            vec![place.unwrap_or_else(|| "stopped".to_owned())]
        }
        Phase::Held { holder } => vec![format!("waits for run {holder}, which does the same work")],
        // Done by an earlier driver, or at once.
        Phase::Done { took } if took.as_millis() < 10 && story.is_none() => vec!["done".to_owned()],
        Phase::Done { took } => [Some(lasting(took.as_millis())), story].into_iter().flatten().collect(),
        Phase::Failed { class, why } => vec![format!("{}: {why}", word(*class))],
        Phase::Skipped { why } => vec![format!("skipped: {why}")],
        Phase::Blocked { by } => vec![format!("not run: it needs {by}")],
    };
    parts.join(" · ")
}
