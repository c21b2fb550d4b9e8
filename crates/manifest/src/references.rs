//! What steps refer to: it exists, or its nearest neighbour is named.

use std::collections::{BTreeMap, HashSet};

use indexmap::IndexMap;
use prunella_model::{DataName, ParamName, PortName, Reference, Source, StepName};

use crate::{
    diagnostic::{Mark, clip},
    handlers::Handlers,
    params::Params,
    reader::Reader,
    step::StepDraft,
};

/// Everything besides steps that a step may refer to.
pub(crate) struct Known<'a> {
    pub params: &'a Params,
    pub data: &'a BTreeMap<DataName, (Option<String>, Mark)>,
    /// Steps that are there but could not be read: a reference to one is not a second mistake.
    pub bad_steps: &'a HashSet<&'a str>,
}

type Drafts<'s> = IndexMap<StepName, StepDraft<'s>>;

impl<'s> Reader<'s> {
    /// Looks up every reference, and notes parameters and data that nothing refers to.
    pub fn references(&mut self, drafts: &Drafts<'s>, handlers: &Handlers<'s>, known: &Known<'_>) {
        let read = std::mem::take(&mut self.used_params);
        let mut used_params: HashSet<&ParamName> = read.iter().collect();
        let mut used_data: HashSet<&DataName> = HashSet::new();
        for (name, draft) in drafts {
            for (_, source) in &draft.inputs {
                match &source.value {
                    Source::Data(data) => {
                        used_data.insert(data);
                        self.data_reference(data, source.mark, known);
                    }
                    Source::Step { step, output } => {
                        self.output_reference(name, step, output, source.mark, drafts, known)
                    }
                }
            }
            self.after_references(name, draft, drafts, known);
            self.for_each_reference(name, drafts, known);
            if let Some(condition) = &draft.when {
                used_params.extend(condition.params());
                self.condition_references(name, condition, drafts, known);
            }
            for reference in &draft.references {
                if let Reference::Param(param) = &reference.value {
                    used_params.insert(param);
                }
                self.item_reference(draft, &reference.value, reference.mark, drafts);
                self.command_reference(draft, &reference.value, reference.mark, known);
            }
        }
        for (_, draft) in handlers.values() {
            for reference in &draft.references {
                if let Reference::Param(param) = &reference.value {
                    used_params.insert(param);
                }
                self.command_reference(draft, &reference.value, reference.mark, known);
            }
        }
        for (name, (_, mark)) in known.params {
            if !used_params.contains(name) {
                self.found
                    .warning("unused-param", *mark, format!("no step refers to the parameter `{name}`"))
                    .help(format!("write `${{{{ params.{name} }}}}` in a `run`, or remove it"));
            }
        }
        for (name, (_, mark)) in known.data {
            if !used_data.contains(name) {
                self.found
                    .warning("unused-data", *mark, format!("no step has the data set `{name}` as an input"))
                    .help(format!("write `inputs: {{ {name}: data.{name} }}` in a step, or remove it"));
            }
        }
    }

    fn data_reference(&mut self, data: &DataName, mark: Mark, known: &Known<'_>) {
        if known.data.contains_key(data) {
            return;
        }
        let help = self.nearest.help(data.as_str(), known.data.keys().map(DataName::as_str));
        self.found
            .error("unknown-reference", mark, format!("there is no data set `{data}`"))
            .maybe_help(help.or_else(|| known.data.is_empty().then(|| "this pipeline has no `data`".to_owned())));
    }

    pub(crate) fn output_reference(
        &mut self,
        name: &StepName,
        step: &StepName,
        output: &PortName,
        mark: Mark,
        drafts: &Drafts<'s>,
        known: &Known<'_>,
    ) {
        if step == name {
            self.self_reference(name, mark);
            return;
        }
        let Some(producer) = self.step_reference(step, mark, drafts, known) else { return };
        if producer.outputs.iter().any(|draft| draft.name == *output) {
            return;
        }
        let help = if producer.outputs.is_empty() {
            Some(format!("`{step}` has no outputs; to run after it without its data, write `after: [{step}]`"))
        } else {
            self.nearest.help(output.as_str(), producer.outputs.iter().map(|draft| draft.name.as_str()))
        };
        self.found
            .error("unknown-reference", mark, format!("the step `{step}` has no output `{output}`"))
            .maybe_help(help);
    }

    pub(crate) fn step_reference<'d>(
        &mut self,
        step: &StepName,
        mark: Mark,
        drafts: &'d Drafts<'s>,
        known: &Known<'_>,
    ) -> Option<&'d StepDraft<'s>> {
        let found = drafts.get(step);
        if found.is_none() && !known.bad_steps.contains(step.as_str()) {
            let help = self.nearest.help(step.as_str(), drafts.keys().map(StepName::as_str));
            self.found.error("unknown-reference", mark, format!("there is no step `{step}`")).maybe_help(help);
        }
        found
    }

    pub(crate) fn self_reference(&mut self, name: &StepName, mark: Mark) {
        self.found
            .error("self-reference", mark, format!("the step `{name}` waits for itself"))
            .help("a step can only use what other steps make");
    }

    fn after_references(&mut self, name: &StepName, draft: &StepDraft<'s>, drafts: &Drafts<'s>, known: &Known<'_>) {
        let mut seen = HashSet::new();
        for after in &draft.after {
            let Ok(step) = StepName::new(after.value) else {
                let help = if after.value.contains('.') {
                    "`after` names steps, without their outputs"
                } else {
                    "write `after: [STEP]`"
                };
                self.found
                    .error("bad-reference", after.mark, format!("`{}` is not the name of a step", clip(after.value)))
                    .help(help);
                continue;
            };
            if !seen.insert(after.value) {
                self.found
                    .error("duplicate-item", after.mark, format!("`{step}` stands in `after` a second time"))
                    .help("remove one of the two");
            } else if step == *name {
                self.self_reference(name, after.mark);
            } else {
                self.step_reference(&step, after.mark, drafts, known);
            }
        }
    }

    pub(crate) fn param_reference(&mut self, name: &ParamName, mark: Mark, known: &Known<'_>) {
        if known.params.contains_key(name) {
            return;
        }
        self.unknown_param(name, mark);
    }

    pub(crate) fn unknown_param(&mut self, name: &ParamName, mark: Mark) {
        let help = self.nearest.help(name.as_str(), self.values.keys().map(ParamName::as_str));
        self.found
            .error("unknown-reference", mark, format!("there is no parameter `{name}`"))
            .maybe_help(help.or_else(|| Some(format!("write `params: {{ {name}: … }}` at the top of the file"))));
    }

    fn command_reference(&mut self, draft: &StepDraft<'s>, reference: &Reference, mark: Mark, known: &Known<'_>) {
        match reference {
            Reference::Param(name) => self.param_reference(name, mark, known),
            Reference::Input(name) => {
                if draft.inputs.iter().any(|(input, _)| input == name) {
                    return;
                }
                let help = self.nearest.help(name.as_str(), draft.inputs.iter().map(|(input, _)| input.as_str()));
                self.found
                    .error("unknown-reference", mark, format!("this step has no input `{name}`"))
                    .maybe_help(help);
            }
            Reference::Output(name) => {
                if draft.outputs.iter().any(|output| output.name == *name) {
                    return;
                }
                let help = self.nearest.help(name.as_str(), draft.outputs.iter().map(|output| output.name.as_str()));
                self.found
                    .error("unknown-reference", mark, format!("this step has no output `{name}`"))
                    .maybe_help(help);
            }
            // Looked up with what the step fans out over.
            Reference::Item(_) => {}
        }
    }
}
