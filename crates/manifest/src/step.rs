//! One step as written, before anything it refers to is looked up.

use std::collections::HashMap;

use prunella_model::{Command, ForEach, Part, PortName, Reference, Reuse, Source, Template};

use crate::{
    FileKind,
    conditions::ConditionDraft,
    diagnostic::{Mark, clip, clip_to},
    policy::Policy,
    ports::OutputDraft,
    publish::PublishDraft,
    reader::{Marked, Reader},
    section,
    tree::{NodeId, Value},
};

/// A step whose own text was read.
#[derive(Debug)]
pub(crate) struct StepDraft<'s> {
    pub run: Option<Command>,
    /// What its command refers to.
    pub references: Vec<Marked<Reference>>,
    pub for_each: Option<Marked<ForEach>>,
    /// Whether `for_each` stands there and could not be read: what follows from it is no second mistake.
    pub for_each_wrong: bool,
    pub inputs: Vec<(PortName, Marked<Source>)>,
    pub outputs: Vec<OutputDraft>,
    pub after: Vec<Marked<&'s str>>,
    pub when: Option<ConditionDraft>,
    pub publish: Vec<PublishDraft>,
    pub code: Option<Vec<String>>,
    pub reuse: Option<Reuse>,
    pub policy: Policy,
}

impl StepDraft<'_> {
    /// Returns the step that runs a command at the end of a run.
    pub fn of_handler(
        run: Command,
        references: Vec<Marked<Reference>>,
        code: Option<Vec<String>>,
        policy: Policy,
    ) -> Self {
        Self {
            run: Some(run),
            references,
            inputs: Vec::new(),
            outputs: Vec::new(),
            after: Vec::new(),
            when: None,
            for_each: None,
            for_each_wrong: false,
            code,
            publish: Vec::new(),
            reuse: Some(Reuse::Run),
            policy,
        }
    }
}

impl<'s> Reader<'s> {
    pub fn step(&mut self, id: NodeId, mark: Mark) -> Option<StepDraft<'s>> {
        let fields = self.fields(id, &section::STEP)?;
        let mut references = Vec::new();
        let run = match fields.get("run") {
            Some(run) => self.command(run, &mut references),
            None => {
                if !fields.has("run") {
                    self.missing_key(mark, &section::STEP, "run", "write `run: python train.py`, or a list of words");
                }
                None
            }
        };
        let for_each = fields.get("for_each").and_then(|id| self.for_each(id));
        let after = fields.get("after").and_then(|id| self.items(id, "`after`")).unwrap_or_default();
        Some(StepDraft {
            run,
            references,
            for_each_wrong: for_each.is_none() && fields.has("for_each"),
            for_each,
            inputs: fields.get("inputs").map(|id| self.inputs(id)).unwrap_or_default(),
            outputs: fields.get("outputs").map(|id| self.outputs(id)).unwrap_or_default(),
            after: after
                .into_iter()
                .filter_map(|id| {
                    let value = self.fixed_text(id, "a step in `after`")?;
                    Some(Marked { value, mark: self.mark(id) })
                })
                .collect(),
            when: fields.get("when").and_then(|id| self.condition(id)),
            publish: fields.get("publish").map(|id| self.publish(id)).unwrap_or_default(),
            code: fields.get("code").map(|id| self.code(id)),
            reuse: fields.get("reuse").and_then(|id| {
                let choices = [("always", Reuse::Always), ("run", Reuse::Run), ("never", Reuse::Never)];
                self.choice(id, "`reuse`", &choices)
            }),
            policy: self.policy(&fields),
        })
    }

    pub(crate) fn command(&mut self, id: NodeId, references: &mut Vec<Marked<Reference>>) -> Option<Command> {
        if let Value::Sequence(words) = &self.tree.node(id).value {
            let words = words.clone();
            let templates: Vec<_> = words.iter().map(|word| self.template(*word, references)).collect();
            let mark = self.mark(id);
            match words.first() {
                None => {
                    self.found
                        .error("missing-value", mark, "`run` is an empty list")
                        .help("its first item is the program");
                }
                Some(first) if matches!(&self.tree.node(*first).value, Value::Scalar { text, .. } if text.is_empty()) =>
                {
                    self.found.error("missing-value", mark, "the program in `run` is empty");
                }
                Some(_) => return templates.into_iter().collect::<Option<_>>().map(Command::Argv),
            }
            return None;
        }
        if matches!(self.tree.node(id).value, Value::Mapping(_)) {
            self.wrong_type(id, "`run`", "a text or a list of words", Some("text with `: ` in it needs quotes"));
            return None;
        }
        let template = self.template(id, references)?;
        if template.source().trim().is_empty() {
            let mark = self.mark(id);
            self.found.error("missing-value", mark, "`run` is empty").help("write the command of the step");
            return None;
        }
        Some(Command::Shell(template))
    }

    fn template(&mut self, id: NodeId, references: &mut Vec<Marked<Reference>>) -> Option<Template> {
        let text = self.text(id, "a word of `run`")?;
        if !text.contains("${{") {
            return Template::parse(text).ok();
        }
        let marks = self.reference_marks(id, text);
        let mark_at = |offset: usize| marks.get(&offset).copied().unwrap_or(self.tree.mark(id));
        match Template::parse(text) {
            Ok(template) => {
                references.extend(template.parts().iter().filter_map(|part| match part {
                    Part::Reference(reference, offset) => {
                        Some(Marked { value: reference.clone(), mark: mark_at(*offset) })
                    }
                    Part::Text(_) => None,
                }));
                Some(template)
            }
            Err(errors) => {
                for error in errors {
                    self.found.error("bad-reference", mark_at(error.offset), clip_to(&error.problem, 200)).help(
                        "write `${{ params.NAME }}`, `${{ inputs.NAME }}`, `${{ outputs.NAME }}` or `${{ item.NAME }}`",
                    );
                }
                None
            }
        }
    }

    /// Returns the place of every `${{ … }}` of a scalar by its offset in the text.
    ///
    /// The text in the file may be quoted, folded or indented: its `${{` are found again by counting. Where the
    /// numbers differ (an escape in quotes), nothing is returned.
    fn reference_marks(&self, id: NodeId, text: &str) -> HashMap<usize, Mark> {
        let whole = self.mark(id);
        let raw = self.places.slice(whole);
        if raw.matches("${{").count() != text.matches("${{").count() {
            return HashMap::new();
        }
        let (mut marks, mut at, mut start) = (HashMap::new(), 0, whole.start);
        for ((offset, _), (raw_at, _)) in text.match_indices("${{").zip(raw.match_indices("${{")) {
            start += raw[at..raw_at].chars().count() as u32;
            at = raw_at;
            // A reference is short; one that is never closed is shown by its opening.
            let near = raw[at..].char_indices().nth(200).map_or(raw.len(), |(length, _)| at + length);
            let length = raw[at..near].find("}}").map_or(3, |end| raw[at..at + end + 2].chars().count() as u32);
            marks.insert(offset, Mark { start, end: start + length });
        }
        marks
    }

    /// Reads patterns of code, each of which must match something.
    pub fn code(&mut self, id: NodeId) -> Vec<String> {
        let mut patterns = Vec::new();
        for item in self.items(id, "`code`").unwrap_or_default() {
            let Some(pattern) = self.pattern(item, "a pattern of `code`") else { continue };
            let files = self.files;
            if *self.matches.entry(pattern.clone()).or_insert_with(|| files.glob_matches(&pattern)) == 0 {
                let mark = self.mark(item);
                let help = match files.kind(&pattern) {
                    Some(FileKind::Directory) => format!("write `{}/**` for all files in a folder", clip(&pattern)),
                    _ => "patterns are relative to the directory of the pipeline file".to_owned(),
                };
                self.found.error("no-match", mark, format!("no file matches `{}`", clip(&pattern))).help(help);
            }
            patterns.push(pattern);
        }
        patterns
    }
}
