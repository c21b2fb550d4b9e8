//! Lines redrawn in place: one write a frame, no more than what is there to see.

use std::io::Write;

use super::frame::{Row, Size};
use crate::present::Paint;

/// A part of the terminal that is written over again and again.
#[derive(Debug)]
pub struct InPlace {
    paint: Paint,
    drawn: Vec<String>,
}

impl InPlace {
    /// Returns one with nothing drawn.
    pub fn new(paint: Paint) -> Self {
        Self { paint, drawn: Vec::new() }
    }

    /// Writes `above` for good and the rows below it; nothing if nothing has changed.
    pub fn draw(&mut self, out: &mut Vec<u8>, above: &[String], rows: &[Row]) {
        let lines: Vec<String> = rows.iter().map(|row| self.line(row)).collect();
        if above.is_empty() && lines == self.drawn {
            return;
        }
        self.clear(out);
        for line in above.iter().chain(&lines) {
            let _into_memory = writeln!(out, "{line}");
        }
        self.drawn = lines;
    }

    /// Removes what is drawn.
    pub fn clear(&mut self, out: &mut Vec<u8>) {
        if !self.drawn.is_empty() {
            // Up to the first line, then away with everything from there: also what the terminal echoed below.
            let _into_memory = write!(out, "\r\u{1b}[{}A\u{1b}[J", self.drawn.len());
            self.drawn.clear();
        }
    }

    /// Leaves what is drawn where it is.
    pub fn leave(&mut self) {
        self.drawn.clear();
    }

    fn line(&self, row: &Row) -> String {
        row.iter().map(|(tone, text)| self.paint.tone(*tone, text)).collect::<String>().trim_end().to_owned()
    }
}

/// Returns the size of the terminal at standard output, or a usual one.
pub fn size() -> Size {
    let known = terminal_size::terminal_size_of(std::io::stdout());
    let (columns, rows) = known.map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)));
    // The last column stays free: writing there wraps on some terminals.
    Size { columns: columns.max(20) - 1, rows: rows.max(4) }
}
