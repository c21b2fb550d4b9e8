//! From a condition and values to its value, every step counted.

use std::{cmp::Ordering, sync::Arc};

use crate::{
    MAX_COST, Seen, Used, Value,
    syntax::{Kind, Node, Operator},
    value::compare_numbers,
};

/// Says why a condition has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}, in `{part}`")]
pub struct EvaluationError {
    /// What is wrong.
    pub problem: String,
    /// The part of the condition.
    pub part: String,
    /// Whether the bound on its cost was reached: nothing makes up for that, not even `false &&`.
    pub(crate) final_: bool,
}

impl EvaluationError {
    pub(crate) fn new(source: &str, node: &Node, problem: String) -> Self {
        Self { problem, part: clip(&source[node.start..node.end], 120), final_: false }
    }
}

/// How many values an answer keeps.
const SEEN: usize = 8;

pub(crate) type Evaluated = Result<Value, EvaluationError>;

pub(crate) struct Evaluation<'c> {
    source: &'c str,
    reads: &'c [Used],
    values: Vec<Option<Value>>,
    pub(crate) variables: Vec<Value>,
    cost: u64,
    pub(crate) saw: Vec<Seen>,
}

impl<'c> Evaluation<'c> {
    pub(crate) fn new(source: &'c str, reads: &'c [Used], values: Vec<Option<Value>>) -> Self {
        Self { source, reads, values, variables: Vec::new(), cost: 0, saw: Vec::new() }
    }

    pub(crate) fn error(&self, node: &Node, problem: String) -> EvaluationError {
        EvaluationError::new(self.source, node, problem)
    }

    /// Counts `steps` more.
    pub(crate) fn spend(&mut self, node: &Node, steps: usize) -> Result<(), EvaluationError> {
        self.cost = self.cost.saturating_add(steps as u64);
        if self.cost <= MAX_COST {
            return Ok(());
        }
        let problem = format!("it takes more than {MAX_COST} steps");
        Err(EvaluationError { final_: true, ..self.error(node, problem) })
    }

    /// Returns the value of a part, and keeps it among those seen if it says something.
    pub(crate) fn value(&mut self, node: &Node) -> Evaluated {
        let value = self.silent(node)?;
        let tells = matches!(node.kind, Kind::Read(_) | Kind::Variable(_) | Kind::Select(..) | Kind::Index(..))
            || matches!(node.kind, Kind::Call(crate::syntax::Function::Size, _));
        if tells && value.is_plain() {
            self.see(node, &value);
        }
        Ok(value)
    }

    fn see(&mut self, node: &Node, value: &Value) {
        let shown = match value {
            // A text may be as large as its file: only its beginning is written out.
            Value::Text(text) if text.len() > 100 => Value::Text(clip(text, 80).into()).to_string(),
            value => value.to_string(),
        };
        let seen = Seen { what: clip(&self.source[node.start..node.end], 80), value: clip(&shown, 100) };
        self.saw.retain(|other| *other != seen);
        if self.saw.len() == SEEN {
            self.saw.remove(0);
        }
        self.saw.push(seen);
    }

    fn silent(&mut self, node: &Node) -> Evaluated {
        self.spend(node, 1)?;
        Ok(match &node.kind {
            Kind::Literal(value) => value.clone(),
            Kind::List(items) => {
                let items: Result<Vec<Value>, _> = items.iter().map(|item| self.value(item)).collect();
                Value::List(items?.into())
            }
            Kind::Variable(place) => self.variables[*place].clone(),
            Kind::Read(place) => self.values[*place].clone().ok_or_else(|| {
                let problem = format!("`{}` has no value", self.reads[*place].what);
                EvaluationError::new(self.source, node, problem)
            })?,
            Kind::Select(of, field) => {
                let value = self.silent(of)?;
                let Value::Map(entries) = &value else {
                    let problem = format!("{} has no fields, so no `{field}`", value.kind());
                    return Err(self.error(node, problem));
                };
                match entries.get(field) {
                    Some(value) => value.clone(),
                    None => {
                        let names: Vec<String> = entries.keys().take(8).map(|name| format!("`{name}`")).collect();
                        let there = if names.is_empty() { "it is empty".to_owned() } else { names.join(", ") };
                        return Err(
                            self.error(node, format!("there is no field `{field}`; there is: {}", clip(&there, 200)))
                        );
                    }
                }
            }
            Kind::Has(of, field) => match self.value(of)? {
                Value::Map(entries) => Value::Bool(entries.contains_key(field)),
                other => return Err(self.error(node, format!("{} has no fields", other.kind()))),
            },
            Kind::Index(of, index) => {
                let (value, index) = (self.silent(of)?, self.value(index)?);
                self.index(node, &value, &index)?
            }
            Kind::Not(of) => Value::Bool(!self.truth(of)?),
            Kind::Negate(of) => match self.value(of)? {
                Value::Int(value) => match value.checked_neg() {
                    Some(value) => Value::Int(value),
                    None => return Err(self.error(node, "the result is too large".to_owned())),
                },
                Value::Double(value) => Value::Double(-value),
                other => return Err(self.error(node, format!("{} has no negative", other.kind()))),
            },
            Kind::And(left, right) => Value::Bool(self.both(left, right, false)?),
            Kind::Or(left, right) => Value::Bool(self.both(left, right, true)?),
            Kind::Binary(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.binary(node, *operator, left, right)?
            }
            Kind::Choice(parts) => {
                let [test, yes, no] = &**parts;
                if self.truth(test)? { self.value(yes)? } else { self.value(no)? }
            }
            Kind::Call(function, arguments) => self.call(node, *function, arguments)?,
            Kind::Macro(which, over, bodies) => self.each(node, *which, over, bodies)?,
        })
    }

    /// Returns the value of a part that has to be true or false.
    pub(crate) fn truth(&mut self, node: &Node) -> Result<bool, EvaluationError> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            other => Err(self.error(node, format!("true or false is expected here, but this is {}", other.kind()))),
        }
    }

    /// Returns `left && right`, or `left || right` where `decides` is true: whichever side decides makes up for a
    /// mistake of the other, so that the order of the two does not matter.
    fn both(&mut self, left: &Node, right: &Node, decides: bool) -> Result<bool, EvaluationError> {
        match self.truth(left) {
            Ok(value) if value == decides => Ok(decides),
            Ok(_) => self.truth(right),
            Err(error) if error.final_ => Err(error),
            Err(error) => match self.truth(right) {
                Ok(value) if value == decides => Ok(decides),
                Err(later) if later.final_ => Err(later),
                Ok(_) | Err(_) => Err(error),
            },
        }
    }

    fn index(&self, node: &Node, value: &Value, index: &Value) -> Evaluated {
        match (value, index) {
            (Value::List(items), Value::Int(n)) => {
                let item = usize::try_from(*n).ok().and_then(|n| items.get(n));
                let missing = || self.error(node, format!("there is no item {n} in a list of {}", items.len()));
                item.cloned().ok_or_else(missing)
            }
            (Value::Map(entries), Value::Text(name)) => {
                let missing = || self.error(node, format!("there is no field `{}`", clip(name, 60)));
                entries.get(name).cloned().ok_or_else(missing)
            }
            (value, index) => {
                let problem = format!("{} has no place that {} could name", value.kind(), index.kind());
                Err(self.error(node, problem))
            }
        }
    }

    fn binary(&mut self, node: &Node, operator: Operator, left: Value, right: Value) -> Evaluated {
        use Operator as O;
        Ok(Value::Bool(match operator {
            O::Equal => self.equal(node, &left, &right)?,
            O::NotEqual => !self.equal(node, &left, &right)?,
            O::Less => self.order(node, operator, &left, &right)?.is_some_and(Ordering::is_lt),
            O::LessEqual => self.order(node, operator, &left, &right)?.is_some_and(Ordering::is_le),
            O::Greater => self.order(node, operator, &left, &right)?.is_some_and(Ordering::is_gt),
            O::GreaterEqual => self.order(node, operator, &left, &right)?.is_some_and(Ordering::is_ge),
            O::In => match &right {
                Value::List(items) => {
                    let mut found = false;
                    for item in items.iter() {
                        found = found || self.equal(node, &left, item)?;
                    }
                    found
                }
                Value::Map(entries) => matches!(&left, Value::Text(name) if entries.contains_key(name)),
                _ => return Err(self.error(node, format!("nothing is `in` {}", right.kind()))),
            },
            O::Add | O::Subtract | O::Multiply | O::Divide | O::Remainder => {
                return self.arithmetic(node, operator, left, right);
            }
        }))
    }

    /// Returns whether two values are the same; values of different kinds are not, but numbers are numbers.
    pub(crate) fn equal(&mut self, node: &Node, left: &Value, right: &Value) -> Result<bool, EvaluationError> {
        self.spend(node, 1)?;
        Ok(match (left, right) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => {
                self.spend(node, a.len().min(b.len()))?;
                a == b
            }
            (Value::List(a), Value::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b.iter()) {
                    if !self.equal(node, a, b)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Map(a), Value::Map(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for ((name, a), (other, b)) in a.iter().zip(b.iter()) {
                    if name != other || !self.equal(node, a, b)? {
                        return Ok(false);
                    }
                }
                true
            }
            (a, b) => compare_numbers(a, b) == Some(Ordering::Equal),
        })
    }

    fn order(
        &mut self,
        node: &Node,
        operator: Operator,
        left: &Value,
        right: &Value,
    ) -> Result<Option<Ordering>, EvaluationError> {
        match (left, right) {
            (Value::Int(_) | Value::Double(_), Value::Int(_) | Value::Double(_)) => Ok(compare_numbers(left, right)),
            (Value::Bool(a), Value::Bool(b)) => Ok(Some(a.cmp(b))),
            (Value::Text(a), Value::Text(b)) => {
                self.spend(node, a.len().min(b.len()))?;
                Ok(Some(a.cmp(b)))
            }
            _ => Err(self.no_sense(node, operator, left, right)),
        }
    }

    fn no_sense(&self, node: &Node, operator: Operator, left: &Value, right: &Value) -> EvaluationError {
        let problem = format!("`{}` has no meaning between {} and {}", operator.sign(), left.kind(), right.kind());
        self.error(node, problem)
    }

    fn arithmetic(&mut self, node: &Node, operator: Operator, left: Value, right: Value) -> Evaluated {
        use Operator as O;
        match (operator, &left, &right) {
            (O::Add, Value::Text(a), Value::Text(b)) => {
                self.spend(node, a.len() + b.len())?;
                Ok(Value::Text(format!("{a}{b}").into()))
            }
            (O::Add, Value::List(a), Value::List(b)) => {
                self.spend(node, a.len() + b.len())?;
                Ok(Value::List(a.iter().chain(b.iter()).cloned().collect()))
            }
            (_, Value::Int(a), Value::Int(b)) => {
                let result = match operator {
                    O::Add => a.checked_add(*b),
                    O::Subtract => a.checked_sub(*b),
                    O::Multiply => a.checked_mul(*b),
                    O::Divide | O::Remainder if *b == 0 => {
                        return Err(self.error(node, "division by zero".to_owned()));
                    }
                    O::Divide => a.checked_div(*b),
                    O::Remainder => a.checked_rem(*b),
                    _ => None,
                };
                result.map(Value::Int).ok_or_else(|| self.error(node, "the result is too large".to_owned()))
            }
            // JSON writes 1.0 as 1 as often as not, so a whole number beside a decimal one counts as one.
            (_, Value::Int(_) | Value::Double(_), Value::Int(_) | Value::Double(_)) if operator != O::Remainder => {
                let (a, b) = (as_double(&left), as_double(&right));
                Ok(Value::Double(match operator {
                    O::Add => a + b,
                    O::Subtract => a - b,
                    O::Multiply => a * b,
                    _ => a / b,
                }))
            }
            _ => Err(self.no_sense(node, operator, &left, &right)),
        }
    }
}

fn as_double(value: &Value) -> f64 {
    match value {
        Value::Int(value) => *value as f64,
        Value::Double(value) => *value,
        _ => f64::NAN,
    }
}

/// Returns at most `most` characters of a text, on one line.
pub(crate) fn clip(text: &str, most: usize) -> String {
    let short = match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    if short.contains('\n') { short.split_whitespace().collect::<Vec<_>>().join(" ") } else { short }
}

/// The list or the keys that a macro goes through.
pub(crate) fn elements(value: &Value) -> Option<Arc<[Value]>> {
    match value {
        Value::List(items) => Some(items.clone()),
        Value::Map(entries) => Some(entries.keys().map(|name| Value::Text(name.clone())).collect()),
        _ => None,
    }
}
