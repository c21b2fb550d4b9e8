//! The ad-hoc row of `prunella chaos`: the same commands as a script, under the same plans.

use std::{collections::BTreeMap, path::Path};

use prunella_chaos::{Patience, Scripted, Strike, Subject, play_script};
use prunella_journal::metrics;
use prunella_model::Digest;
use serde_json::{Value, json};

use super::{Chaos, clear, millis, stores::clear_all};
use crate::{
    answer::note, baseline::Baseline, context::Context, error::CliError, present::lasting, progress::Coverage,
    resilience::Resilience,
};

/// The ad-hoc baseline under the same plans.
#[derive(Default)]
pub(super) struct Compared {
    runs: Vec<(u64, Scripted)>,
    pub(super) row: Resilience,
}

impl Chaos {
    /// Returns the ad-hoc baseline, after it has made the same as the undisturbed run.
    pub(super) async fn baseline(
        &self,
        context: &Context,
        (base, subject): (&Path, &Subject),
        dir: &Path,
        published: &BTreeMap<String, Digest>,
        patience: Patience,
    ) -> Result<Baseline, CliError> {
        let calm = subject.sites.of(&dir.join("undisturbed")).open(&context.sys).await?;
        let gone = || CliError::Usage("the undisturbed run is gone".to_owned(), None);
        let calm = calm.ok_or_else(gone)?;
        let baseline = Baseline::of(context, base, calm, &dir.join("expected"), published).await?;
        let scripted = self.scripted(context, &baseline, &dir.join("undisturbed-ad-hoc"), &[], patience).await?;
        note(&format!("… as a script in {}", lasting(millis(scripted.wall))));
        if scripted.code == Some(0) && scripted.corrupt.is_empty() {
            return Ok(baseline);
        }
        clear_all(context, &subject.sites, dir).await;
        let wrong: Vec<String> = scripted.corrupt.into_iter().map(|name| format!("  `{name}`")).collect();
        let what =
            format!("as a script that nobody disturbs, the pipeline does not make the same\n{}", wrong.join("\n"));
        Err(CliError::Refused(what, Some("leave `--compare` out".to_owned())))
    }

    /// Plays the script once in a directory of its own.
    pub(super) async fn scripted(
        &self,
        context: &Context,
        baseline: &Baseline,
        home: &Path,
        plan: &[Strike],
        patience: Patience,
    ) -> Result<Scripted, CliError> {
        let script = baseline.script(context, home).await?;
        let scripted = play_script(&context.sys, &script, plan, patience).await.map_err(CliError::io(home))?;
        if !self.keep {
            clear(context, home);
        }
        Ok(scripted)
    }
}

impl Compared {
    pub(super) fn add(&mut self, seed: u64, scripted: Scripted) {
        // Nobody has written anything down: not one byte can be walked back.
        let coverage = Coverage { committed_bytes: scripted.bytes, ..Coverage::default() };
        self.row.add(&metrics(&scripted.events), &coverage);
        self.row.add_corrupt(scripted.corrupt.len());
        self.runs.push((seed, scripted));
    }

    fn failed(&self) -> usize {
        self.runs.iter().filter(|(_, scripted)| scripted.code != Some(0)).count()
    }

    pub(super) fn json(&self) -> Value {
        let mut row = self.row.json();
        let run = |(seed, scripted): &(u64, Scripted)| {
            json!({
                "seed": seed,
                "timeline": timeline(&scripted.timeline),
                "faults": scripted.strikes,
                "scripts": scripted.scripts,
                "wall_ms": millis(scripted.wall),
                "exit_code": scripted.code,
                "corrupt": scripted.corrupt,
            })
        };
        row["failed_runs"] = self.failed().into();
        row["each"] = self.runs.iter().map(run).collect::<Vec<_>>().into();
        row
    }

    /// Says what of the script's row the table has no column for.
    pub(super) fn remarks(&self) -> String {
        let mut text = String::new();
        if self.failed() > 0 {
            text.push_str(&format!("{} of {} scripts gave up: somebody has to look\n", self.failed(), self.runs.len()));
        }
        let corrupt = self.runs.iter().find(|(_, scripted)| !scripted.corrupt.is_empty());
        if let Some((seed, scripted)) = corrupt {
            let names: Vec<&str> = scripted.corrupt.iter().map(String::as_str).collect();
            text.push_str(&format!("the script of seed {seed} let be seen what is not right: {}\n", names.join(", ")));
        }
        text
    }
}

/// Says how a script came out, in a few words.
pub(super) fn said_of_script(scripted: &Scripted) -> String {
    let ended = match scripted.code {
        Some(0) => "",
        _ => " · gave up",
    };
    let corrupt = match scripted.corrupt.len() {
        0 => String::new(),
        n => format!(" · {n} corrupt"),
    };
    format!("ad-hoc: {} starts · {}{ended}{corrupt}", scripted.scripts, lasting(millis(scripted.wall)))
}

/// Returns what happened, for programs.
pub(super) fn timeline(events: &[(u64, String)]) -> Vec<Value> {
    events.iter().map(|(at, what)| json!({ "at_ms": at, "what": what })).collect()
}
