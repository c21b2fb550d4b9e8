//! What a disturbed run is found to be beside the undisturbed one, and what is kept of it.

use std::{collections::BTreeSet, path::PathBuf};

use prunella_chaos::{Made, Played, Site, Subject};
use prunella_engine::load_state;
use prunella_journal::metrics;
use prunella_model::Pipeline;
use serde_json::{Value, json};

use super::{compared::timeline, millis, stores::clear_run};
use crate::{context::Context, progress::Coverage, resilience::Resilience};

/// What every disturbed run is judged by.
pub(super) struct Judge<'a> {
    /// What is run.
    pub(super) subject: &'a Subject,
    /// What the undisturbed run made.
    pub(super) expected: &'a Made,
    /// Which steps may make anything.
    pub(super) pipeline: &'a Pipeline,
    /// Whether runs with which nothing is wrong are kept, too.
    pub(super) keep: bool,
}

/// What was found.
pub(super) struct Verdict {
    /// What is wrong, in words.
    pub(super) wrong: Vec<String>,
    /// Where the run is kept, and its store.
    pub(super) kept: Option<(PathBuf, Site)>,
}

impl Judge<'_> {
    /// Judges the run in `home`, adds its figures to `row`, and removes it unless it is to be kept.
    pub(super) async fn judges(
        &self,
        context: &Context,
        home: PathBuf,
        played: &Played,
        row: &mut Resilience,
    ) -> Verdict {
        let wrong = problems_of(self.expected, played, self.pipeline, row);
        let site = self.subject.sites.of(&home);
        add_runs(context, &site, row).await;
        if self.keep || !wrong.is_empty() {
            return Verdict { wrong, kept: Some((home, site)) };
        }
        clear_run(context, &self.subject.sites, &home).await;
        Verdict { wrong, kept: None }
    }
}

/// Returns what of a run is the same for programs whatever was done to it; the caller adds what was.
pub(super) fn as_json(played: &Played, verdict: &Verdict) -> Value {
    let Verdict { wrong, kept } = verdict;
    json!({
        "timeline": timeline(&played.timeline),
        "engines": played.engines,
        "wall_ms": millis(played.wall),
        "exit_code": played.code,
        "wrong": wrong,
        "kept": kept.as_ref().map(|(home, _)| home),
        "store": kept.as_ref().map(|(_, site)| site.word().to_string_lossy().into_owned()),
    })
}

/// Returns what is wrong with a run, in words, and counts what it made corrupt.
fn problems_of(expected: &Made, played: &Played, pipeline: &Pipeline, row: &mut Resilience) -> Vec<String> {
    let broken = played.broken.iter().map(|broken| format!("{} does not hold: {}", broken.invariant, broken.what));
    let mut problems: Vec<String> = broken.collect();
    match &played.made {
        Some(made) => {
            let other = differing(expected, made, pipeline);
            row.add_corrupt(other.len());
            let told = |name| format!("I1 visible does not hold: `{name}` is not what the undisturbed run made");
            problems.extend(other.into_iter().map(told));
        }
        None if played.broken.is_none() => problems.push(match played.code {
            Some(code) => format!("the run ended with {code} and did not succeed"),
            None => "the run did not end".to_owned(),
        }),
        None => {}
    }
    problems
}

/// Returns what is other than it should be; what a step makes that is not deterministic may be anything.
fn differing(expected: &Made, made: &Made, pipeline: &Pipeline) -> Vec<String> {
    let step_of = |name: &str| -> String { name.chars().take_while(|c| !matches!(c, '.' | '[')).collect() };
    let random: BTreeSet<&str> =
        pipeline.steps.iter().filter(|(_, step)| !step.deterministic).map(|(name, _)| name.as_str()).collect();
    let names: BTreeSet<&String> = expected.results.keys().chain(made.results.keys()).collect();
    let results = names.into_iter().filter(|name| !random.contains(step_of(name).as_str()));
    let mut other: Vec<String> =
        results.filter(|name| expected.results.get(*name) != made.results.get(*name)).cloned().collect();
    if random.is_empty() {
        let paths: BTreeSet<&String> = expected.published.keys().chain(made.published.keys()).collect();
        let differ = |path: &&String| expected.published.get(*path) != made.published.get(*path);
        other.extend(paths.into_iter().filter(differ).map(|path| format!("published {path}")));
    }
    other
}

/// Adds the figures of all runs of a store; one that cannot be read has been told of already.
async fn add_runs(context: &Context, site: &Site, row: &mut Resilience) {
    let Ok(Some(store)) = site.open(&context.sys).await else { return };
    for run in store.runs().await.unwrap_or_default() {
        if let Ok(loaded) = load_state(&store, &run.run).await {
            row.add(&metrics(&loaded.events), &Coverage::of(&loaded.plan, &loaded.state));
        }
    }
}
