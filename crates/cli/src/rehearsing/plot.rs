//! The picture of a sweep: a curve with its confidence band, as SVG.

use std::fmt::Write;

use prunella_rehearsal::Estimate;

use crate::markup::escaped;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;

/// What is drawn.
pub struct Curve<'a> {
    /// Above the picture.
    pub title: &'a str,
    /// Below the values.
    pub parameter: &'a str,
    /// The values, and the waste at each.
    pub points: &'a [(String, Estimate)],
}

/// Returns the picture: the values evenly from left to right, waste upwards, in per cent.
pub fn picture(curve: &Curve<'_>) -> String {
    let (left, right, top, bottom) = (64.0, 20.0, 48.0, 60.0);
    let high = curve.points.iter().map(|(_, one)| bounded(one).1).fold(0.0, f64::max).max(1e-4);
    let most = nice(100.0 * high);
    let n = curve.points.len();
    let x = |i: usize| {
        let share = if n > 1 { i as f64 / (n - 1) as f64 } else { 0.5 };
        left + 24.0 + share * (WIDTH - left - right - 48.0)
    };
    let y = |share: f64| HEIGHT - bottom - 100.0 * share / most * (HEIGHT - top - bottom);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{left}\" y=\"26\" font-size=\"15\" fill=\"#1f2328\">{}</text>\n",
        escaped(curve.title)
    );
    for i in 0..=4 {
        let share = most * f64::from(i) / 4.0 / 100.0;
        let _infallible = writeln!(
            out,
            "<path d=\"M{left} {0:.1}H{1}\" stroke=\"#d0d7de\"/><text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\" fill=\"#57606a\">{4} %</text>",
            y(share),
            WIDTH - right,
            left - 8.0,
            y(share) + 4.0,
            number(100.0 * share)
        );
    }
    let mut band = String::new();
    for (i, (_, one)) in curve.points.iter().enumerate() {
        let _infallible = write!(band, "{}{:.1} {:.1}", if i == 0 { "M" } else { "L" }, x(i), y(bounded(one).1));
    }
    for (i, (_, one)) in curve.points.iter().enumerate().rev() {
        let _infallible = write!(band, "L{:.1} {:.1}", x(i), y(bounded(one).0));
    }
    let _infallible = writeln!(out, "<path d=\"{band}Z\" fill=\"#8250df\" fill-opacity=\"0.2\"/>");
    let line: Vec<String> =
        curve.points.iter().enumerate().map(|(i, (_, one))| format!("{:.1} {:.1}", x(i), y(one.mean))).collect();
    let _infallible =
        writeln!(out, "<path d=\"M{}\" fill=\"none\" stroke=\"#8250df\" stroke-width=\"2\"/>", line.join("L"));
    for (i, (value, one)) in curve.points.iter().enumerate() {
        let (x, y) = (x(i), y(one.mean));
        let _infallible = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"#8250df\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#1f2328\">{:.2}</text>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#57606a\">{}</text>",
            y - 9.0,
            100.0 * one.mean,
            HEIGHT - bottom + 18.0,
            escaped(value)
        );
    }
    let _infallible = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#1f2328\">{}</text>\n</svg>",
        f64::midpoint(left, WIDTH - right),
        HEIGHT - 16.0,
        escaped(curve.parameter)
    );
    out
}

/// One run has no interval: its band has no width.
fn bounded(one: &Estimate) -> (f64, f64) {
    if one.high.is_finite() { (one.low.max(0.0), one.high) } else { (one.mean, one.mean) }
}

/// Returns the next number with a round quarter.
fn nice(value: f64) -> f64 {
    let unit = 10.0_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|times| times * unit)
        .find(|most| *most >= value)
        .unwrap_or(10.0 * unit)
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
