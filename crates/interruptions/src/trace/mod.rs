//! Recorded traces of machines: who came and went when.
//!
//! | format | what a file has | from |
//! | --- | --- | --- |
//! | lives | a table with a column `life_seconds`, and `machine_type` | Kadupitige and others, HPDC 2020 |
//! | availability | JSON: how many machines there were, every so many seconds | Wu and others, NSDI 2024 (SkyPilot) |
//! | counts | lines `time,machines`, one for each change | Thorpe and others, NSDI 2023 (Bamboo) |
//! | nodes | JSON lines: which nodes were added and removed | Duan and others, NSDI 2024 (Parcae) |

mod availability;
mod counts;
mod nodes;
mod table;

use crate::Life;

/// Says what is wrong with a trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// It is none of the formats that are known.
    #[error("this is no trace in a format that is known: lives, availability, counts or nodes")]
    UnknownFormat,
    /// A line is not as the format has it.
    #[error("line {line}: {problem}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The whole is not as the format has it.
    #[error("{0}")]
    Whole(String),
    /// No machine was interrupted in it.
    #[error("no machine was interrupted in it")]
    NoInterruption,
}

impl TraceError {
    fn line(index: usize, problem: impl Into<String>) -> Self {
        Self::Line { line: index + 1, problem: problem.into() }
    }
}

/// What a trace tells.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trace {
    /// The lives; one that the record's end cuts off was not interrupted.
    pub lives: Vec<Life>,
    /// How long there was no machine at all, each time; nothing where the format does not tell.
    pub gaps: Vec<f64>,
}

impl Trace {
    /// Reads a trace in any of the formats.
    ///
    /// # Errors
    /// [`TraceError`] with the first line that is wrong.
    pub fn read(text: &str) -> Result<Self, TraceError> {
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        if first.starts_with('{') {
            availability::read(text)
        } else if first.starts_with('[') {
            nodes::read(text)
        } else if first.split(',').any(|column| column.trim() == table::LIFE) {
            table::read(text)
        } else if first.split(',').count() == 2 && first.split(',').all(|part| part.trim().parse::<f64>().is_ok()) {
            counts::read(text)
        } else {
            Err(TraceError::UnknownFormat)
        }
    }

    /// Returns the trace if a machine was interrupted in it. Of several traces one without is welcome: it tells of long lives.
    ///
    /// # Errors
    /// [`TraceError::NoInterruption`] if none was.
    pub fn with_interruptions(self) -> Result<Self, TraceError> {
        if self.lives.iter().any(|life| life.interrupted) { Ok(self) } else { Err(TraceError::NoInterruption) }
    }

    /// Adds another trace to this one.
    pub fn and(&mut self, other: Self) {
        self.lives.extend(other.lives);
        self.gaps.extend(other.gaps);
    }

    /// Returns the lives that were interrupted, in seconds.
    pub fn interrupted(&self) -> Vec<f64> {
        self.lives.iter().filter(|life| life.interrupted).map(|life| life.lived).collect()
    }
}

/// Machines that are there: which is which is known only where a format tells.
#[derive(Default)]
struct Pool {
    /// When each started.
    started: Vec<f64>,
    lives: Vec<Life>,
}

impl Pool {
    fn end(mut self, at: f64) -> Trace {
        let left = self.started.iter().map(|started| Life { lived: at - started, interrupted: false });
        self.lives.extend(left.filter(|life| life.lived > 0.0));
        // One that came and went between two looks had no life that anybody could have used.
        self.lives.retain(|life| life.lived > 0.0);
        Trace { lives: self.lives, gaps: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_known_by_its_look() {
        let texts = [
            "life_seconds,machine_type,zone\n38,n1-highcpu-32,us-central1-c\n",
            r#"{"metadata": {"gap_seconds": 300}, "data": [0, 1, 1, 0, 1]}"#,
            "0,0\n0,2\n600,2\n600,1\n",
            "[0, \"add\", {\"nodes\": [\"a\", \"b\"]}]\n[60000, \"no-op\", {\"nodes\": []}]\n[120000, \"remove\", {\"nodes\": [\"b\"]}]\n",
        ];
        let lived = [38.0, 600.0, 600.0, 120.0];
        for (text, lived) in texts.into_iter().zip(lived) {
            assert_eq!(Trace::read(text).map(|trace| trace.interrupted()), Ok(vec![lived]), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let line = |text: &str| match Trace::read(text) {
            Err(TraceError::Line { line, .. }) => line,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(line("life_seconds,zone\n5,a\nx,b\n"), 3);
        assert_eq!(line("0,1\n60,zero\n"), 2);
        assert_eq!(line("60,1\n0,0\n"), 2, "time goes back");
        assert_eq!(line("[0, \"add\", {\"nodes\": [\"a\"]}]\n[9, \"remove\", {\"nodes\": [\"b\"]}]\n"), 2);
        assert_eq!(line("[0, \"add\", {\"nodes\": [\"a\"]}]\n[9, \"explode\", {\"nodes\": [\"a\"]}]\n"), 2);
        assert_eq!(Trace::read("a poem\n"), Err(TraceError::UnknownFormat));
        let quiet = Trace::read("0,1\n60,2\n").expect("a trace");
        assert_eq!(quiet.clone().with_interruptions(), Err(TraceError::NoInterruption));
        let mut all = Trace::read("0,1\n60,0\n").expect("a trace");
        let lives = all.lives.len() + quiet.lives.len();
        all.and(quiet);
        assert_eq!(all.with_interruptions().map(|all| all.lives.len()), Ok(lives), "the long lives count, too");
        assert!(matches!(Trace::read("{\"data\": [1, 0]}"), Err(TraceError::Whole(_))), "no gap between the looks");
    }
}
