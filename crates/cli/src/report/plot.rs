//! Waste over time as SVG: compute time used, and what of it was lost, as it stood at each instant.

use std::fmt::Write;

use super::{RunReport, chart::time, parts::percent, scale::Scale};

const WIDTH: f64 = 1120.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = WIDTH - 70.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = HEIGHT - 30.0;

/// Returns the plot as an SVG element; nothing if nothing was computed.
pub fn plot(run: &RunReport) -> String {
    let most = run.waste.iter().map(|sample| sample.compute.as_millis()).max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let scale = Scale::of(&run.timeline, LEFT, RIGHT);
    let y = |ms: u64| BOTTOM - (BOTTOM - TOP) * ms as f64 / most as f64;
    let mut out = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"compute time used and lost over time\">\n"
    );
    for (from, to, _) in scale.gaps() {
        let _infallible = writeln!(
            out,
            "<rect class=\"down\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            (to - from).max(1.0),
            BOTTOM - TOP
        );
    }
    for (x, ms) in scale.ticks(8) {
        let _infallible = writeln!(
            out,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            BOTTOM + 16.0,
            time(ms)
        );
    }
    for part in [0_u64, 1, 2] {
        let (ms, at) = (most * part / 2, y(most * part / 2));
        let _infallible = writeln!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/><text class=\"tick side\" x=\"{}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            if ms == 0 { "0".to_owned() } else { crate::present::lasting(ms) }
        );
    }
    let mut area = |class: &str, of: &dyn Fn(&super::Sample) -> u64| {
        let mut path = format!("M{:.1} {BOTTOM}", run.waste.first().map_or(LEFT, |sample| scale.x(sample.at)));
        for sample in &run.waste {
            let _infallible = write!(path, "L{:.1} {:.1}", scale.x(sample.at), y(of(sample)));
        }
        let last = run.waste.last().map_or(LEFT, |sample| scale.x(sample.at));
        let _infallible = writeln!(out, "<path class=\"area {class}\" d=\"{path}L{last:.1} {BOTTOM}z\"/>");
    };
    area("compute", &|sample| sample.compute.as_millis());
    area("lost", &|sample| sample.lost.as_millis());
    if let Some(last) = run.waste.last() {
        let share = last.lost.as_millis() as f64 / last.compute.as_millis().max(1) as f64;
        let _infallible = writeln!(
            out,
            "<text class=\"tick ahead\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            scale.x(last.at) + 6.0,
            (y(last.lost.as_millis()) + 4.0).min(BOTTOM),
            percent(share)
        );
    }
    out.push_str("</svg>\n");
    out
}
