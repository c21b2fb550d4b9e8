//! `on_exit` and `on_failure`: commands that run at the end of a run.

use indexmap::IndexMap;
use prunella_model::{Handler, StepName};

use crate::{
    policy::Policy,
    reader::{Fields, Reader},
    section,
    step::StepDraft,
    tree::{NodeId, Value},
};

/// Handlers by the names of their steps, in the order in which they are written.
pub(crate) type Handlers<'s> = IndexMap<StepName, (Handler, StepDraft<'s>)>;

impl<'s> Reader<'s> {
    /// Reads both keys; answers also whether every handler left a step.
    pub fn handlers(&mut self, fields: &Fields<'s>) -> (Handlers<'s>, bool) {
        let (mut handlers, mut whole) = (Handlers::new(), true);
        for (key, handler) in [("on_exit", Handler::Exit), ("on_failure", Handler::Failure)] {
            let Some(id) = fields.get(key) else { continue };
            for (n, id) in self.each_handler(id).into_iter().enumerate() {
                let name = if n == 0 { key.to_owned() } else { format!("{key}-{}", n + 1) };
                match (StepName::new(&name), self.handler(id)) {
                    (Ok(name), Some(draft)) => _ = handlers.insert(name, (handler, draft)),
                    _ => whole = false,
                }
            }
        }
        (handlers, whole)
    }

    /// Returns the handlers of a key: a list of mappings is several, a list of words is the command of one.
    fn each_handler(&self, id: NodeId) -> Vec<NodeId> {
        match &self.tree.node(id).value {
            Value::Sequence(items) if items.iter().any(|item| self.is_mapping(*item)) => items.clone(),
            _ => vec![id],
        }
    }

    fn is_mapping(&self, id: NodeId) -> bool {
        matches!(self.tree.node(id).value, Value::Mapping(_))
    }

    fn handler(&mut self, id: NodeId) -> Option<StepDraft<'s>> {
        let mut references = Vec::new();
        let (mut code, mut policy) = (None, Policy::default());
        let run = if self.is_mapping(id) {
            let fields = self.fields(id, &section::HANDLER)?;
            code = fields.get("code").map(|id| self.code(id));
            policy = self.policy(&fields);
            match fields.get("run") {
                Some(run) => self.command(run, &mut references),
                None => {
                    if !fields.has("run") {
                        let mark = self.mark(id);
                        self.missing_key(mark, &section::HANDLER, "run", "write `run: ./notify.sh`");
                    }
                    None
                }
            }
        } else {
            self.command(id, &mut references)
        };
        run.map(|run| StepDraft::of_handler(run, references, code, policy))
    }

    /// Refuses steps that are called like a handler.
    pub fn handler_names(&mut self, steps: NodeId, handlers: &Handlers<'s>) {
        for entry in self.entries(steps, "`steps`", "").unwrap_or_default() {
            if handlers.contains_key(entry.key) {
                let problem = format!("a step cannot be called `{}` here", entry.key);
                self.found
                    .error("bad-name", entry.key_mark, problem)
                    .help("that is the name of the step which `on_exit` or `on_failure` runs; take another name");
            }
        }
    }
}
