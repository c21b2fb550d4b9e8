//! What goes through a list, value by value.

use crate::{
    EvaluationError, Value,
    evaluate::{Evaluated, Evaluation, elements},
    syntax::{Macro, Node},
};

impl Evaluation<'_> {
    pub(crate) fn each(&mut self, node: &Node, which: Macro, over: &Node, bodies: &[Node]) -> Evaluated {
        let value = self.value(over)?;
        let Some(items) = elements(&value) else {
            return Err(self.error(over, format!("a list is expected here, but this is {}", value.kind())));
        };
        self.spend(node, items.len())?;
        let body = &bodies[0];
        match which {
            Macro::All => self.quantify(&items, body, false),
            Macro::Exists => self.quantify(&items, body, true),
            Macro::ExistsOne => {
                let mut count = 0;
                for item in items.iter() {
                    count += usize::from(self.with(item, |this| this.truth(body))?);
                }
                Ok(Value::Bool(count == 1))
            }
            Macro::Filter => {
                let mut kept = Vec::new();
                for item in items.iter() {
                    if self.with(item, |this| this.truth(body))? {
                        kept.push(item.clone());
                    }
                }
                Ok(Value::List(kept.into()))
            }
            Macro::Map => {
                let mut made = Vec::new();
                for item in items.iter() {
                    let value = self.with(item, |this| match bodies {
                        [test, body] => Ok(if this.truth(test)? { Some(this.value(body)?) } else { None }),
                        _ => this.value(body).map(Some),
                    })?;
                    made.extend(value);
                }
                Ok(Value::List(made.into()))
            }
        }
    }

    /// Goes through the values until one decides; that one makes up for mistakes with others, as with `&&` and `||`.
    fn quantify(&mut self, items: &[Value], body: &Node, decides: bool) -> Evaluated {
        let mut first = None;
        for item in items {
            match self.with(item, |this| this.truth(body)) {
                Ok(value) if value == decides => return Ok(Value::Bool(decides)),
                Ok(_) => {}
                Err(error) if error.final_ => return Err(error),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        first.map_or(Ok(Value::Bool(!decides)), Err)
    }

    fn with<T>(
        &mut self,
        item: &Value,
        body: impl FnOnce(&mut Self) -> Result<T, EvaluationError>,
    ) -> Result<T, EvaluationError> {
        self.variables.push(item.clone());
        let result = body(self);
        self.variables.pop();
        result
    }
}
