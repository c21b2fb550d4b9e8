//! Which attempts stand in which row of the time line, so that a run of any size can be looked at.

use std::collections::BTreeMap;

use prunella_journal::{AttemptCourse, CameOut, Moment, Timeline};

/// More rows than this nobody looks at: then items of one step stand together, and after that the rest is left out.
const ROWS: usize = 60;
/// Attempts side by side of one row.
const LANES: usize = 6;
/// A row with more attempts is drawn as how many ran at a time.
const BARS: usize = 400;

/// One row of the time line.
#[derive(Debug)]
pub struct Row<'a> {
    /// The step, or the step with all its items.
    pub name: String,
    /// What is drawn.
    pub shown: Shown<'a>,
    /// How many attempts it has.
    pub attempts: usize,
    /// How many of them ended without a commit.
    pub ended: usize,
}

/// How a row is drawn.
#[derive(Debug)]
pub enum Shown<'a> {
    /// Each attempt, with its lane.
    Bars(Vec<(usize, &'a AttemptCourse)>),
    /// How many ran at a time.
    Crowd(Vec<&'a AttemptCourse>),
}

impl Row<'_> {
    /// Returns how many lanes it needs.
    pub fn lanes(&self) -> usize {
        match &self.shown {
            Shown::Bars(bars) => bars.iter().map(|(lane, _)| lane + 1).max().unwrap_or(1),
            Shown::Crowd(_) => 2,
        }
    }
}

/// The rows, and how many steps are left out.
#[derive(Debug)]
pub struct Rows<'a> {
    /// The rows, by their first attempt.
    pub rows: Vec<Row<'a>>,
    /// How many rows there are beyond them.
    pub left_out: usize,
}

/// Returns the rows of a run.
///
/// If there are too many, those of attempts that ended without a commit are kept first.
pub fn rows<'a>(timeline: &'a Timeline) -> Rows<'a> {
    let by = |name: fn(&AttemptCourse) -> String| {
        let mut rows: BTreeMap<String, Vec<&'a AttemptCourse>> = BTreeMap::new();
        timeline.attempts().iter().for_each(|course| rows.entry(name(course)).or_default().push(course));
        rows
    };
    let mut named = by(|course| course.step.to_string());
    if named.len() > ROWS {
        named = by(|course| course.step.name.to_string());
    }
    let mut rows: Vec<Row<'a>> = named.into_iter().map(|(name, courses)| row(name, courses)).collect();
    let left_out = rows.len().saturating_sub(ROWS);
    if left_out > 0 {
        rows.sort_by_key(|row| std::cmp::Reverse(row.ended));
        rows.truncate(ROWS);
    }
    rows.sort_by_key(first);
    Rows { rows, left_out }
}

fn first(row: &Row<'_>) -> Moment {
    let first = match &row.shown {
        Shown::Bars(bars) => bars.first().map(|(_, course)| course.started),
        Shown::Crowd(courses) => courses.first().map(|course| course.started),
    };
    first.unwrap_or_default()
}

fn row(name: String, courses: Vec<&AttemptCourse>) -> Row<'_> {
    let attempts = courses.len();
    let ended = courses.iter().filter(|course| matches!(course.came_out, CameOut::Ended(_))).count();
    let shown = match (attempts <= BARS).then(|| in_lanes(&courses)).flatten() {
        Some(bars) => Shown::Bars(bars),
        None => Shown::Crowd(courses),
    };
    Row { name, shown, attempts, ended }
}

/// Puts attempts that overlap below each other; nothing if there are too many at a time.
fn in_lanes<'a>(courses: &[&'a AttemptCourse]) -> Option<Vec<(usize, &'a AttemptCourse)>> {
    let mut free: Vec<Option<Moment>> = Vec::new();
    let mut bars = Vec::new();
    for course in courses {
        let lane = free.iter().position(|until| until.is_some_and(|until| until <= course.started));
        let lane = lane.unwrap_or_else(|| {
            free.push(None);
            free.len() - 1
        });
        if lane >= LANES {
            return None;
        }
        // One that goes on has its lane for itself.
        free[lane] = course.ended.or(course.gone);
        bars.push((lane, *course));
    }
    Some(bars)
}
