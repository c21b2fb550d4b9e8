//! The time line of a run as SVG: attempts by step, with what interrupted them and what they went on from.

use std::fmt::Write;

use prunella_journal::{AttemptCourse, CameOut, Moment, Timeline, is_interruption};

use super::{
    lanes::{Row, Rows, Shown, rows},
    scale::Scale,
};
use crate::{
    markup::escaped,
    present::{attempt, lasting},
};

const WIDTH: f64 = 1120.0;
const RIGHT: f64 = WIDTH - 14.0;
/// The height of a lane, and of the space around the lanes of a row.
const LANE: f64 = 14.0;
const AROUND: f64 = 10.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;
/// The width of a letter of the names.
const LETTER: f64 = 6.7;
/// A name that is longer is cut.
const LETTERS: usize = 34;
/// Checkpoints nearer to each other are drawn as one.
const APART: f64 = 3.0;
/// Columns of a row that shows how many ran at a time.
const COLUMNS: usize = 300;

/// Returns the time line as an SVG element.
pub fn chart(timeline: &Timeline) -> String {
    let Rows { rows, left_out } = rows(timeline);
    if rows.is_empty() {
        return "<p class=\"note\">No attempt started: everything was reused, or nothing has run yet.</p>\n".to_owned();
    }
    let longest = rows.iter().map(|row| label(row).chars().count()).max().unwrap_or(0);
    let left = 16.0 + longest as f64 * LETTER;
    let scale = Scale::of(timeline, left, RIGHT);
    let heights = rows.iter().map(|row| row.lanes() as f64 * LANE + AROUND);
    let bottom = TOP + heights.sum::<f64>();
    let height = bottom + BOTTOM;
    let mut out = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"attempts of each step over time\">\n"
    );
    frame(&mut out, timeline, &scale, bottom);
    let end = timeline.drivers().last().map_or(Moment::default(), |driven| driven.to);
    let mut y = TOP;
    for (n, row) in rows.iter().enumerate() {
        let row_height = row.lanes() as f64 * LANE + AROUND;
        if n % 2 == 1 {
            let _infallible = writeln!(
                out,
                "<rect class=\"stripe\" x=\"0\" y=\"{y:.1}\" width=\"{WIDTH}\" height=\"{row_height:.1}\"/>"
            );
        }
        let _infallible = writeln!(
            out,
            "<text class=\"name\" x=\"8\" y=\"{:.1}\">{}</text>",
            y + row_height / 2.0 + 4.0,
            escaped(&label(row))
        );
        match &row.shown {
            Shown::Bars(bars) => {
                for (lane, course) in bars {
                    bar(&mut out, &scale, course, y + AROUND / 2.0 + *lane as f64 * LANE, end);
                }
            }
            Shown::Crowd(courses) => crowd(&mut out, &scale, courses, y + AROUND / 2.0, (left, end)),
        }
        y += row_height;
    }
    out.push_str("</svg>\n");
    if left_out > 0 {
        let _infallible = writeln!(out, "<p class=\"note\">{left_out} further steps are not drawn.</p>");
    }
    out
}

fn label(row: &Row<'_>) -> String {
    let cut = row.name.chars().count() > LETTERS;
    let name: String = row.name.chars().take(if cut { LETTERS - 1 } else { LETTERS }).collect();
    let name = if cut { format!("{name}…") } else { name };
    match &row.shown {
        Shown::Bars(_) => name,
        Shown::Crowd(_) => format!("{name} ({})", row.attempts),
    }
}

/// Draws the axis, the times without an engine and the beginnings of engines.
fn frame(out: &mut String, timeline: &Timeline, scale: &Scale, bottom: f64) {
    for (from, to, ms) in scale.gaps() {
        let _infallible = writeln!(
            out,
            "<rect class=\"down\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"><title>no engine for {}</title></rect>",
            (to - from).max(1.0),
            bottom - TOP,
            lasting(ms)
        );
    }
    for (x, ms) in scale.ticks(8) {
        let _infallible = writeln!(
            out,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom:.1}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            bottom + 16.0,
            time(ms)
        );
    }
    for driven in timeline.drivers().iter().skip(1) {
        let x = scale.x(driven.from);
        let _infallible = writeln!(
            out,
            "<path class=\"driver\" d=\"M{x:.1} {TOP}V{bottom:.1}\"><title>start {} of the engine</title></path>",
            driven.driver
        );
    }
}

/// Draws one attempt, and what a pointer over it shows.
fn bar(out: &mut String, scale: &Scale, course: &AttemptCourse, y: f64, end: Moment) {
    let until = course.gone.unwrap_or(end).max(course.started);
    let (x, x_end) = (scale.x(course.started), scale.x(until));
    let x_run = course.process.map_or(x_end, |process| scale.x(process).min(x_end));
    let height = LANE - 3.0;
    let class = match course.came_out {
        CameOut::Committed => "committed",
        CameOut::Open => "open",
        CameOut::Ended(class) if is_interruption(class) => "interrupted",
        CameOut::Ended(_) => "failed",
    };
    let _infallible = write!(out, "<g><title>{}</title>", escaped(&words(course, until)));
    let _infallible = write!(
        out,
        "<rect class=\"bring\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height}\"/>\
         <rect class=\"bar {class}\" x=\"{x_run:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height}\" rx=\"1.5\"/>",
        (x_run - x).max(0.0),
        (x_end - x_run).max(1.2)
    );
    let middle = y + height / 2.0;
    let mut before = f64::MIN;
    for made in &course.checkpoints {
        let at = scale.x(made.taken);
        if at - before >= APART {
            let class = if made.durable.is_some() { "checkpoint" } else { "checkpoint taken" };
            let _infallible =
                write!(out, "<path class=\"{class}\" d=\"M{at:.1} {:.1}l2.6 2.6l-2.6 2.6l-2.6 -2.6z\"/>", middle - 2.6);
            before = at;
        }
    }
    if let Some(notice) = course.notice {
        let at = scale.x(notice);
        let _infallible = write!(out, "<path class=\"notice\" d=\"M{at:.1} {:.1}v{}\"/>", y - 2.0, height + 4.0);
    }
    if course.restored.is_some() {
        let _infallible = write!(out, "<path class=\"restored\" d=\"M{x_run:.1} {:.1}l6 3.5l-6 3.5z\"/>", middle - 3.5);
    }
    match course.came_out {
        CameOut::Committed => {
            let _infallible = write!(out, "<circle class=\"commit\" cx=\"{x_end:.1}\" cy=\"{middle:.1}\" r=\"3.4\"/>");
        }
        CameOut::Ended(_) => {
            let _infallible = write!(
                out,
                "<path class=\"cross {class}\" d=\"M{:.1} {:.1}l7 7m0 -7l-7 7\"/>",
                x_end - 3.5,
                middle - 3.5
            );
        }
        CameOut::Open => {}
    }
    out.push_str("</g>\n");
}

fn words(course: &AttemptCourse, until: Moment) -> String {
    let mut text = attempt(&course.step, &course.slot);
    let ran = course.process.map(|process| lasting(until.since(process).as_millis()));
    let ran = ran.map_or_else(|| "its program never ran".to_owned(), |ran| format!("ran {ran}"));
    let came_out = match course.came_out {
        CameOut::Committed => "committed".to_owned(),
        CameOut::Open => "not ended as far as is known".to_owned(),
        CameOut::Ended(class) => format!("ended: {class}"),
    };
    let _infallible = write!(text, ": {came_out}; {ran}");
    if let Some((checkpoint, took)) = course.restored {
        let _infallible = write!(text, "; back at checkpoint {} in {}", checkpoint.seq, lasting(took.as_millis()));
    }
    if !course.checkpoints.is_empty() {
        let durable = course.checkpoints.iter().filter(|made| made.durable.is_some()).count();
        let _infallible = write!(text, "; {} checkpoints, {durable} durable", course.checkpoints.len());
    }
    if course.notice.is_some() {
        text.push_str("; had a notice");
    }
    text
}

/// Draws how many of the attempts ran at a time, and where some ended without a commit.
fn crowd(out: &mut String, scale: &Scale, courses: &[&AttemptCourse], y: f64, (left, end): (f64, Moment)) {
    let wide = (RIGHT - left) / COLUMNS as f64;
    let column = |x: f64| (((x - left) / wide) as usize).min(COLUMNS - 1);
    // Beginnings less ends up to a column are those that run in it.
    let (mut change, mut ends) = (vec![0_i64; COLUMNS + 1], vec![0_u32; COLUMNS]);
    for course in courses {
        let until = course.gone.unwrap_or(end).max(course.started);
        change[column(scale.x(course.started))] += 1;
        change[column(scale.x(until)) + 1] -= 1;
        if matches!(course.came_out, CameOut::Ended(_)) {
            ends[column(scale.x(until))] += 1;
        }
    }
    let mut running = 0;
    let at_a_time: Vec<i64> = change[..COLUMNS]
        .iter()
        .map(|change| {
            running += change;
            running
        })
        .collect();
    let most = at_a_time.iter().copied().max().unwrap_or(1).max(1);
    let full = 2.0 * LANE - 3.0;
    for (n, running) in at_a_time.into_iter().enumerate().filter(|(_, running)| *running > 0) {
        let (x, height) = (left + n as f64 * wide, full * running as f64 / most as f64);
        let ended = ends[n];
        let class = if ended > 0 { "bar interrupted" } else { "bar committed" };
        let _infallible = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{running} \
             attempts, {ended} ended without a commit</title></rect>",
            y + full - height,
            (wide - 0.4).max(0.6)
        );
    }
}

/// Returns a time as it stands at an axis.
pub fn time(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        1..1000 => format!("{ms} ms"),
        _ if ms < 60_000 && !ms.is_multiple_of(1000) => format!("{:.1} s", ms as f64 / 1000.0),
        _ if ms < 60_000 => format!("{} s", ms / 1000),
        _ if ms < 3_600_000 => format!("{} min", ms / 60_000),
        _ if !ms.is_multiple_of(3_600_000) => format!("{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
        _ => format!("{} h", ms / 3_600_000),
    }
}
