//! How times, sizes, names and columns look to people.

use std::{fmt::Write, path::Path};

use prunella_journal::HintSeen;
use prunella_model::{Artifact, ArtifactKind, ByteSize, RunId, SlotId, StepId};

use crate::context::Context;

/// Colour where a terminal shows it, nothing elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

/// A colour of meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Less important.
    Dim,
    /// A heading.
    Strong,
    /// It went well.
    Good,
    /// It goes on, or needs attention.
    Busy,
    /// It went wrong.
    Bad,
}

impl Paint {
    /// Returns colours for standard output, where they are wanted.
    pub fn of(context: &Context) -> Self {
        Self(context.is_terminal())
    }

    /// Returns no colours.
    #[cfg(test)]
    pub const fn none() -> Self {
        Self(false)
    }

    /// Returns the text in this tone.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.0 => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Dim => "2",
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Busy => "33",
            Tone::Bad => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Returns the line about what a cloud said of a machine of the run.
pub fn hinted(hint: &HintSeen) -> String {
    let into = lasting(hint.at.as_millis());
    format!("hint from {} {into} into start {}: {}\n", hint.source, hint.driver, hint.what)
}

/// One line of columns; its tone is that of the first.
#[derive(Debug, Clone)]
pub struct Line(pub Tone, pub Vec<String>);

/// Returns the lines with their columns below each other, two blanks between; the last column is as long as it is.
pub fn columns(paint: Paint, lines: &[Line]) -> String {
    let mut table = Table::default();
    for Line(tone, cells) in lines {
        cells.iter().for_each(|cell| table.cell(|text| text.push_str(cell)));
        table.end_line(*tone);
    }
    table.laid_out(paint)
}

/// Lines of columns, written cell by cell: there may be a hundred thousand.
#[derive(Debug, Default)]
pub struct Table {
    text: String,
    /// Where each cell ends in the text.
    ends: Vec<usize>,
    /// The tone of each line, and how many cells there are up to its end.
    lines: Vec<(Tone, usize)>,
    widths: Vec<usize>,
}

impl Table {
    /// Adds a cell to the present line.
    pub fn cell(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        self.ends.push(self.text.len());
    }

    /// Ends the present line.
    pub fn end_line(&mut self, tone: Tone) {
        let first = self.lines.last().map_or(0, |(_, end)| *end);
        for (at, cell) in (first..self.ends.len().saturating_sub(1)).enumerate() {
            if self.widths.len() <= at {
                self.widths.push(0);
            }
            self.widths[at] = self.widths[at].max(width(self.text_of(cell)));
        }
        self.lines.push((tone, self.ends.len()));
    }

    fn text_of(&self, cell: usize) -> &str {
        let begin = cell.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin..self.ends[cell]]
    }

    /// Returns the lines with their columns below each other, as [`columns`] does.
    pub fn laid_out(&self, paint: Paint) -> String {
        let room = self.widths.iter().map(|width| width + 2).sum::<usize>() + 16;
        let mut out = String::with_capacity(self.lines.len() * room);
        let mut first = 0;
        for &(tone, end) in &self.lines {
            let begun = out.len();
            for cell in first..end {
                let (at, is_last, text) = (cell - first, cell + 1 == end, self.text_of(cell));
                let blanks = if is_last { 0 } else { self.widths[at] - width(text) };
                if at == 0 && paint.0 {
                    out.push_str(&paint.tone(tone, &format!("{text}{:blanks$}", "")));
                } else {
                    out.push_str(text);
                    out.extend(std::iter::repeat_n(' ', blanks));
                }
                if !is_last {
                    out.push_str("  ");
                }
            }
            out.truncate(begun + out[begun..].trim_end().len());
            out.push('\n');
            first = end;
        }
        out
    }
}

fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// Returns a wall time as UTC, to the second.
pub fn moment(at_ms: i64) -> String {
    let seconds = at_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

/// Returns the date of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Returns a length of time as people say it: `0.11 s`, `21.3 s`, `3 min 20 s`, `2 h 05 min`.
pub fn lasting(ms: u64) -> String {
    let seconds = ms / 1000;
    match ms {
        0..1000 => format!("{:.2} s", ms as f64 / 1000.0),
        1000..60_000 => format!("{}.{} s", seconds, ms / 100 % 10),
        60_000..3_600_000 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Returns the beginning of a run's id that tells it from others: of a UUID, its time.
pub fn short(run: &RunId) -> &str {
    let text = run.as_str();
    match text.len() {
        36 => &text[..13],
        _ => text,
    }
}

/// Returns an attempt as it is addressed: `train@2`.
pub fn attempt(step: &StepId, slot: &SlotId) -> String {
    format!("{step}@{}", slot.epoch)
}

/// Returns what an artifact is: `file 1.2 KiB 1a2b3c4d5e6f`.
pub fn artifact(artifact: &Artifact) -> String {
    let kind = match artifact.kind {
        ArtifactKind::File => "file",
        ArtifactKind::Tree => "tree",
    };
    format!("{kind} {} {}", ByteSize(artifact.size_bytes), artifact.digest.short())
}

/// Returns `1 step`, `2 steps`.
pub fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Returns a path as people write it: nothing before what is here.
pub fn path(path: &Path) -> String {
    path.strip_prefix("./").unwrap_or(path).display().to_string()
}

/// Writes what is formatted behind the text.
pub fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _never_fails = text.write_fmt(what);
}

/// Returns the lines of `text`, each behind `indent`.
pub fn indented(text: &str, indent: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let _never_fails = writeln!(out, "{indent}{line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_time_is_shown_in_utc() {
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(951_827_696_789), "2000-02-29 12:34:56 UTC");
        assert_eq!(moment(1_767_225_599_999), "2025-12-31 23:59:59 UTC");
        assert_eq!(moment(-1), "1969-12-31 23:59:59 UTC");
    }

    #[test]
    fn a_length_of_time_has_the_unit_that_fits() {
        let shown = [110, 999, 21_340, 200_000, 7_500_000].map(lasting);
        assert_eq!(shown, ["0.11 s", "1.00 s", "21.3 s", "3 min 20 s", "2 h 05 min"]);
    }

    #[test]
    fn columns_stand_below_each_other_and_end_without_blanks() {
        let line = |cells: &[&str]| Line(Tone::Plain, cells.iter().map(|&cell| cell.to_owned()).collect());
        let text = columns(Paint(false), &[line(&["a", "b", "long text"]), line(&["ccc", "dd", ""])]);
        assert_eq!(text, "a    b   long text\nccc  dd\n");
    }
}
