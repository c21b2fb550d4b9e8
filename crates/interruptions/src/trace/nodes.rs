//! Which nodes were added and removed.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Pool, Trace, TraceError};
use crate::Life;

pub(super) fn read(text: &str) -> Result<Trace, TraceError> {
    let (mut there, mut pool, mut last) = (BTreeMap::<String, f64>::new(), Pool::default(), 0.0);
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |problem: &str| TraceError::line(index, problem);
        let value: Value = serde_json::from_str(line).map_err(|error| wrong(&error.to_string()))?;
        let now = value[0].as_f64().ok_or_else(|| wrong("no time"))? / 1000.0;
        let nodes = value[2]["nodes"].as_array().ok_or_else(|| wrong("no nodes"))?;
        let nodes = nodes.iter().filter_map(Value::as_str);
        if now < last {
            return Err(wrong("time goes back"));
        }
        last = now + value[2]["duration"].as_f64().unwrap_or(0.0) / 1000.0;
        match value[1].as_str() {
            Some("add") => there.extend(nodes.map(|node| (node.to_owned(), now))),
            Some("remove") => {
                for node in nodes {
                    let started = there.remove(node);
                    let started = started.ok_or_else(|| wrong(&format!("`{node}` was not there")))?;
                    pool.lives.push(Life { lived: now - started, interrupted: true });
                }
            }
            Some("no-op") => {}
            _ => return Err(wrong("neither `add`, `remove` nor `no-op`")),
        }
    }
    pool.started = there.into_values().collect();
    Ok(pool.end(last))
}
