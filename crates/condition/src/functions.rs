//! The functions of a condition.

use crate::{
    Value,
    evaluate::{Evaluated, Evaluation, clip},
    syntax::{Function, Node},
};

impl Evaluation<'_> {
    pub(crate) fn call(&mut self, node: &Node, function: Function, arguments: &[Node]) -> Evaluated {
        let values: Result<Vec<Value>, _> = arguments.iter().map(|argument| self.value(argument)).collect();
        let values = values?;
        match (function, &values[..]) {
            (Function::Size, [Value::List(items)]) => Ok(Value::Int(items.len() as i64)),
            (Function::Size, [Value::Map(entries)]) => Ok(Value::Int(entries.len() as i64)),
            (Function::Size, [Value::Text(text)]) => {
                self.spend(node, text.len())?;
                Ok(Value::Int(text.chars().count() as i64))
            }
            (Function::Contains, [Value::Text(text), Value::Text(part)]) => {
                self.spend(node, text.len() + part.len())?;
                Ok(Value::Bool(text.contains(&**part)))
            }
            (Function::StartsWith, [Value::Text(text), Value::Text(part)]) => {
                self.spend(node, part.len())?;
                Ok(Value::Bool(text.starts_with(&**part)))
            }
            (Function::EndsWith, [Value::Text(text), Value::Text(part)]) => {
                self.spend(node, part.len())?;
                Ok(Value::Bool(text.ends_with(&**part)))
            }
            (Function::Int, [value]) => self.whole(node, value),
            (Function::Double, [value]) => self.decimal(node, value),
            (Function::String, [value]) => self.text(node, value),
            (_, values) => {
                let kinds: Vec<&str> = values.iter().map(Value::kind).collect();
                Err(self.error(node, format!("`{}` has no meaning for {}", function.name(), kinds.join(" and "))))
            }
        }
    }

    fn whole(&mut self, node: &Node, value: &Value) -> Evaluated {
        let whole = match value {
            Value::Int(value) => Some(*value),
            // Both bounds are exact as decimals; the upper one is the first that does not fit.
            Value::Double(value) if *value >= -(2_f64.powi(63)) && *value < 2_f64.powi(63) => Some(*value as i64),
            Value::Text(text) => {
                self.spend(node, text.len())?;
                text.parse().ok()
            }
            _ => None,
        };
        whole.map(Value::Int).ok_or_else(|| self.no_number(node, value))
    }

    fn decimal(&mut self, node: &Node, value: &Value) -> Evaluated {
        let decimal = match value {
            Value::Int(value) => Some(*value as f64),
            Value::Double(value) => Some(*value),
            Value::Text(text) => {
                self.spend(node, text.len())?;
                text.parse().ok()
            }
            _ => None,
        };
        decimal.map(Value::Double).ok_or_else(|| self.no_number(node, value))
    }

    fn no_number(&self, node: &Node, value: &Value) -> crate::EvaluationError {
        let shown = match value {
            Value::Text(text) => format!("the text `{}`", clip(text, 60)),
            other => other.kind().to_owned(),
        };
        self.error(node, format!("{shown} is not such a number"))
    }

    fn text(&mut self, node: &Node, value: &Value) -> Evaluated {
        let text = match value {
            Value::Text(text) => return Ok(Value::Text(text.clone())),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Double(value) => value.to_string(),
            other => return Err(self.error(node, format!("`string` has no meaning for {}", other.kind()))),
        };
        self.spend(node, text.len())?;
        Ok(Value::Text(text.into()))
    }
}
