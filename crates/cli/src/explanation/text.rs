//! The explanation of a step as people read it.

use prunella_journal::{SkippedBy, StepState};
use prunella_store::records::CopiedFrom;

use super::Subject;
use crate::{
    condition::StepCondition,
    present::{Line, Paint, Tone, artifact, attempt, columns, hinted, short},
    referenced,
    skips::{expression, seen},
};

impl Subject<'_> {
    /// Returns what people read.
    pub fn text(&self, paint: Paint) -> String {
        let mut out = format!(
            "{}  run {}  {}\n",
            paint.tone(Tone::Strong, &self.step.to_string()),
            self.run,
            paint.tone(tone(self.condition), self.condition.as_str())
        );
        match (self.state.state(self.place), &self.made_by) {
            (StepState::Failed { class, why }, _) => out.push_str(&format!("given up: {class}: {why}\n")),
            (StepState::Blocked { by }, _) => {
                out.push_str(&format!("it needs {}, which was given up\n", self.plan.id(*by)));
            }
            (StepState::Skipped { by: SkippedBy::Need(by) }, _) => {
                out.push_str(&format!("skipped: it reads {}, which was skipped\n", self.plan.id(*by)));
            }
            (_, Some((run, step))) => {
                let (slot, _) = self.bound.as_ref().expect("only a commit is made by somebody");
                out.push_str(&format!(
                    "reused: {} of run {} is the same work (command, code, parameters and inputs are equal)\n",
                    attempt(step, slot),
                    short(run)
                ));
            }
            _ => {}
        }
        let copied = self.bound.as_ref().and_then(|(_, committed)| committed.provenance.copied_from.as_ref());
        if let Some(CopiedFrom { store, slot, remarks }) = copied {
            out.push_str(&format!("copied from {store}, slot {slot} there; every byte was compared\n"));
            for remark in remarks {
                out.push_str(&format!("remark there: {remark}\n"));
            }
        }
        self.condition_text(&mut out);
        match self.key {
            _ if self.condition == StepCondition::Skipped => {}
            Some(key) => out.push_str(&format!("key {}\n", key.hex())),
            None => out.push_str("key not known before what it needs is done\n"),
        }
        self.lineage(paint, &mut out);
        for tried in &self.tried {
            tried.text(paint, &self.step, &mut out);
        }
        for hint in self.hints() {
            out.push_str(&hinted(hint));
        }
        if let Some((_, committed)) = &self.bound {
            out.push_str("outputs\n");
            let lines = committed
                .artifacts
                .iter()
                .map(|(name, stored)| Line(Tone::Plain, vec![format!("  {name}"), artifact(&stored.artifact)]));
            out.push_str(&columns(paint, &lines.collect::<Vec<_>>()));
        }
        let published = self.publications.lines(self.plan, self.state, self.place);
        if !published.is_empty() {
            out.push_str("published\n");
            let lines: Vec<Line> = published.into_iter().map(|words| Line(Tone::Plain, words.into())).collect();
            out.push_str(&columns(paint, &lines));
        }
        if let Some(newest) = self.checkpoints.first() {
            out.push_str(&format!("checkpoints of this key: {}, the newest {newest}\n", self.checkpoints.len()));
        }
        for next in self.next() {
            out.push_str(&format!("  next: {next}\n"));
        }
        out
    }

    fn condition_text(&self, out: &mut String) {
        let spec = self.plan.step(self.place);
        if spec.when.is_none() {
            return;
        }
        let answer = match &self.decided {
            None => "not answered yet",
            Some(decided) if decided.run => "it holds",
            Some(_) => "it does not hold",
        };
        out.push_str(&format!("condition {}: {answer}\n", expression(spec)));
        if let Some(decided) = self.decided.as_ref().filter(|decided| !decided.saw.is_empty()) {
            out.push_str(&format!("  saw {}\n", seen(decided.saw)));
        }
    }

    fn lineage(&self, paint: Paint, out: &mut String) {
        if let Some((_, committed)) = &self.bound {
            let provenance = &committed.provenance;
            out.push_str(&format!("command {}\n", one_line(&provenance.command)));
            if let Some(code) = provenance.code {
                out.push_str(&format!("code {}\n", code.short()));
            }
            match provenance.environment {
                Some(lock) => out.push_str(&format!("environment {}\n", lock.short())),
                None => out.push_str(&format!("on the host ({})\n", provenance.platform)),
            }
            for (name, value) in &provenance.params {
                out.push_str(&format!("param {name} = {value}\n"));
            }
            for remark in &provenance.remarks {
                out.push_str(&format!("remark: {remark}\n"));
            }
        }
        if self.inputs.is_empty() {
            return;
        }
        out.push_str("inputs\n");
        let lines = self.inputs.iter().map(|(name, input, producer)| {
            let producer = producer.as_ref().map_or_else(String::new, |by| format!(", made by {by}"));
            let mounted = input.mounted.as_ref().map_or_else(String::new, |at| {
                let bare = if at.protected || self.bound.is_none() { "" } else { ", without protection" };
                format!(", mounted from `{}`{bare}", at.path)
            });
            let at = input.referenced.as_ref().map_or_else(String::new, |at| format!(", {}", referenced::place(at)));
            let from = format!("from {}{producer}{mounted}{at}", input.source);
            Line(Tone::Plain, vec![format!("  {name}"), artifact(&input.artifact), from])
        });
        out.push_str(&columns(paint, &lines.collect::<Vec<_>>()));
    }
}

fn tone(condition: StepCondition) -> Tone {
    match condition {
        StepCondition::Done | StepCondition::Reused => Tone::Good,
        StepCondition::Failed | StepCondition::Blocked => Tone::Bad,
        StepCondition::Running | StepCondition::Interrupted | StepCondition::Healing | StepCondition::Held => {
            Tone::Busy
        }
        StepCondition::Waiting | StepCondition::Ready | StepCondition::Dropped | StepCondition::Skipped => Tone::Dim,
    }
}

/// Returns a command on one line, at most as long as people read.
fn one_line(command: &[String]) -> String {
    let script = match command {
        [shell, errexit, flag, script] if shell == "/bin/sh" && errexit == "-e" && flag == "-c" => script.clone(),
        argv => argv.join(" "),
    };
    let mut lines = script.trim().lines();
    let first = lines.next().unwrap_or_default().to_owned();
    if lines.next().is_some() { format!("{first} …") } else { first }
}
