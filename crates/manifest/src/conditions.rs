//! `when`: the condition under which a step runs.

use indexmap::IndexMap;
use prunella_condition::{Condition, Use};
use prunella_model::{ContentFormat, Output, OutputRead, ParamName, PortName, StepName, When};

use crate::{
    diagnostic::{Mark, clip, clip_to},
    reader::{Marked, Reader},
    references::Known,
    step::StepDraft,
    tree::NodeId,
};

/// A condition as written, before what it reads is looked up.
#[derive(Debug)]
pub(crate) struct ConditionDraft {
    pub when: When,
    /// Everything that it reads, and where.
    pub uses: Vec<Marked<Use>>,
}

impl ConditionDraft {
    /// Returns the steps that it reads, with their places.
    pub fn steps(&self) -> impl Iterator<Item = (&StepName, Mark)> {
        self.uses.iter().filter_map(|used| match &used.value {
            Use::Output { step, .. } => Some((step, used.mark)),
            Use::Param(_) | Use::Item => None,
        })
    }

    /// Returns the parameters that it reads.
    pub fn params(&self) -> impl Iterator<Item = &ParamName> {
        self.uses.iter().filter_map(|used| match &used.value {
            Use::Param(name) => Some(name),
            Use::Output { .. } | Use::Item => None,
        })
    }
}

impl<'s> Reader<'s> {
    pub fn condition(&mut self, id: NodeId) -> Option<ConditionDraft> {
        let text = self.text(id, "`when`")?;
        match Condition::parse(text) {
            Ok(condition) => {
                let uses: Vec<_> = condition.uses().iter().collect();
                let reads = uses.iter().filter_map(|used| match &used.what {
                    Use::Output { step, output } => Some(OutputRead { step: step.clone(), output: output.clone() }),
                    Use::Param(_) | Use::Item => None,
                });
                let when = When { expression: text.to_owned(), reads: reads.collect() };
                let place = |used: &&prunella_condition::Used| Marked {
                    value: used.what.clone(),
                    mark: self.part(id, text, used.start, used.end),
                };
                Some(ConditionDraft { when, uses: uses.iter().map(place).collect() })
            }
            Err(mistake) => {
                let mark = self.part(id, text, mistake.start, mistake.end);
                let help = Some(mistake.help).filter(|help| !help.is_empty());
                self.found.error("bad-condition", mark, clip_to(&mistake.problem, 200)).maybe_help(help);
                None
            }
        }
    }

    /// Returns the place of a part of a scalar's text.
    ///
    /// The text in the file may be quoted, folded or indented: the part is found again by counting what looks like it.
    /// Where the numbers differ (an escape in quotes), the whole scalar stands for it.
    fn part(&self, id: NodeId, text: &str, start: usize, end: usize) -> Mark {
        let whole = self.mark(id);
        let (raw, part) = (self.places.slice(whole), &text[start..end]);
        if part.is_empty() || raw.matches(part).count() != text.matches(part).count() {
            return whole;
        }
        let before = text.match_indices(part).take_while(|(at, _)| *at < start).count();
        let Some((at, _)) = raw.match_indices(part).nth(before) else { return whole };
        let start = whole.start + raw[..at].chars().count() as u32;
        Mark { start, end: start + part.chars().count() as u32 }
    }

    /// Looks up everything that the condition of a step reads.
    pub fn condition_references(
        &mut self,
        name: &StepName,
        condition: &ConditionDraft,
        drafts: &IndexMap<StepName, StepDraft<'s>>,
        known: &Known<'_>,
    ) {
        for Marked { value, mark } in &condition.uses {
            match value {
                Use::Output { step, output } => {
                    self.output_reference(name, step, output, *mark, drafts, known);
                    self.must_be_json(step, output, *mark, drafts);
                }
                Use::Param(param) => self.param_reference(param, *mark, known),
                Use::Item if drafts.get(name).is_some_and(|draft| draft.for_each.is_some() || draft.for_each_wrong) => {
                }
                Use::Item => {
                    self.found
                        .error("unknown-reference", *mark, "this step has no `item`: it is not fanned out")
                        .help("`item` is known in a step with `for_each`");
                }
            }
        }
    }

    fn must_be_json(
        &mut self,
        step: &StepName,
        output: &PortName,
        mark: Mark,
        drafts: &IndexMap<StepName, StepDraft<'s>>,
    ) {
        let draft = drafts.get(step).and_then(|draft| draft.outputs.iter().find(|draft| draft.name == *output));
        let Some(declared) = draft.and_then(|draft| draft.output.as_ref()) else { return };
        let Some(kind) = unreadable(&declared.value) else { return };
        self.found
            .error("not-json", mark, format!("a condition reads JSON, but `{step}.{output}` is {}", clip(&kind)))
            .help("read an output that ends in .json or .jsonl, or has `check: { format: json }`");
    }
}

/// Returns what an output is, unless a condition can read it.
fn unreadable(output: &Output) -> Option<String> {
    if output.tree {
        return Some("a folder".to_owned());
    }
    match output.check.format.unwrap_or_else(|| ContentFormat::of_name(output.path.base_name())) {
        ContentFormat::Json | ContentFormat::Jsonl => None,
        ContentFormat::Any => Some("of no declared format".to_owned()),
        other => Some(format!("in the format `{}`", other.as_str())),
    }
}
