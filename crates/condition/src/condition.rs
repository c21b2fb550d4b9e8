//! A condition: its text, what it reads, and its answer.

use std::{collections::BTreeMap, fmt};

use prunella_model::{ParamName, PortName, StepName};

use crate::{
    EvaluationError, Value,
    evaluate::Evaluation,
    parse::{Mistake, parse},
    syntax::Node,
};

/// Something outside a condition that it reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// The JSON of an output: `STEP.OUTPUT`.
    Output {
        /// The step.
        step: StepName,
        /// Its output.
        output: PortName,
    },
    /// A parameter: `params.NAME`.
    Param(ParamName),
    /// The item of a fanned-out step: `item`.
    Item,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output { step, output } => write!(f, "{step}.{output}"),
            Self::Param(name) => write!(f, "params.{name}"),
            Self::Item => f.write_str("item"),
        }
    }
}

/// What a condition reads, and where in its text that stands first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// What is read.
    pub what: Use,
    /// Byte offset of its beginning.
    pub start: usize,
    /// Byte offset behind its end.
    pub end: usize,
}

/// The values of what a condition reads.
pub type Scope = BTreeMap<Use, Value>;

/// A value that an evaluation looked at, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The part of the condition.
    pub what: String,
    /// Its value, as JSON would write it, shortened.
    pub value: String,
}

/// The answer of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it holds.
    pub holds: bool,
    /// The last values that were looked at, the one that decided among them.
    pub saw: Vec<Seen>,
}

/// A condition that was understood.
#[derive(Debug, Clone)]
pub struct Condition {
    source: String,
    root: Node,
    reads: Vec<Used>,
}

impl Condition {
    /// Reads the text of a condition.
    ///
    /// # Errors
    /// The first [`Mistake`] that leaves no condition.
    pub fn parse(source: &str) -> Result<Self, Mistake> {
        let (root, reads) = parse(source)?;
        Ok(Self { source: source.to_owned(), root, reads })
    }

    /// Returns the text as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns everything that it reads, each once, in the order of the text.
    pub fn uses(&self) -> &[Used] {
        &self.reads
    }

    /// Returns whether the condition holds for these values.
    ///
    /// Ends after [`crate::MAX_COST`] steps at the latest, whatever the values are.
    ///
    /// # Errors
    /// [`EvaluationError`] if it has no answer: something is not there, of the wrong kind, or too much.
    pub fn evaluate(&self, scope: &Scope) -> Result<Answer, EvaluationError> {
        let values = self.reads.iter().map(|read| scope.get(&read.what).cloned()).collect();
        let mut evaluation = Evaluation::new(&self.source, &self.reads, values);
        match evaluation.value(&self.root)? {
            Value::Bool(holds) => Ok(Answer { holds, saw: evaluation.saw }),
            other => {
                let problem = format!("a condition is true or false, but this is {}: {other}", other.kind());
                Err(EvaluationError::new(&self.source, &self.root, problem))
            }
        }
    }
}
