//! Recorded traces, where they are: beside the checkout in `../shared/data/traces`, or where PRUNELLA_TRACES says.
#![allow(clippy::disallowed_methods, reason = "a test may be told where its data are")]

use std::path::PathBuf;

use prunella_interruptions::{
    Life, Lives,
    fit::{self, Prior},
    trace::Trace,
};

/// Returns the trace of all files of a folder, or of one file; nothing, and says so, where they are not there.
fn recorded(path: &str) -> Option<Trace> {
    let usual = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/traces"));
    let path = std::env::var_os("PRUNELLA_TRACES").map_or_else(usual, PathBuf::from).join(path);
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&path) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) if path.is_file() => vec![path.clone()],
        Err(_) => {
            eprintln!("skipped: there is no {}", path.display());
            return None;
        }
    };
    files.sort();
    let mut trace = Trace::default();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it can be read");
        trace.and(Trace::read(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }
    Some(trace)
}

const HOUR: f64 = 3600.0;

struct Figures {
    path: &'static str,
    lives: usize,
    mean: f64,
    median: f64,
    variation: f64,
    /// In per cent, below half an hour.
    short: f64,
    /// Shape, and scale in hours.
    weibull: (f64, f64),
    /// Spread, and median in hours.
    lognormal: Option<(f64, f64)>,
}

#[test]
fn recorded_lives_have_their_reference_figures() {
    let all = [
        ("sky/availability/1-node/aws-02-15-2023", 1887, [3.22, 0.54, 3.18, 46.0], (0.596, 1.75), Some((1.465, 0.80))),
        ("sky/preemption/1-node/aws-04-22-2023", 202, [2.03, 0.64, 1.78, 46.0], (0.626, 1.35), Some((1.676, 0.58))),
        ("sky/preemption/1-node/aws-04-19-2023", 221, [1.63, 0.38, 2.09, 57.0], (0.587, 0.96), Some((1.713, 0.40))),
        ("sky/preemption/4-node/aws-08-03-2023", 179, [4.09, 1.42, 1.72, 24.0], (0.699, 3.08), Some((1.459, 1.47))),
        ("gcp-preemptible-lives.csv", 1442, [8.41, 1.86, 1.20, 29.0], (0.559, 5.40), None),
    ];
    for (path, lives, [mean, median, variation, short], weibull, lognormal) in all {
        check(&Figures { path, lives, mean, median, variation, short, weibull, lognormal });
    }
}

fn check(figures: &Figures) {
    let Some(trace) = recorded(figures.path) else { return };
    let mut lives = trace.interrupted();
    lives.sort_by(f64::total_cmp);
    let near = |is: f64, should: f64, within: f64, what: &str| {
        assert!((is - should).abs() <= within, "{} {what}: {is}, not {should}", figures.path);
    };
    let n = lives.len() as f64;
    let mean = lives.iter().sum::<f64>() / n;
    let spread = (lives.iter().map(|life| (life - mean).powi(2)).sum::<f64>() / n).sqrt();
    assert_eq!(lives.len(), figures.lives, "{}", figures.path);
    near(mean / HOUR, figures.mean, 0.006, "mean");
    near(f64::midpoint(lives[(lives.len() - 1) / 2], lives[lives.len() / 2]) / HOUR, figures.median, 0.006, "median");
    near(spread / mean, figures.variation, 0.006, "variation");
    let short = lives.iter().filter(|life| **life < HOUR / 2.0).count() as f64 / n;
    near(100.0 * short, figures.short, 0.51, "below half an hour");
    let seen: Vec<Life> = lives.iter().map(|lived| Life { lived: *lived, interrupted: true }).collect();
    // What is believed is what was found: it pulls nowhere.
    let prior = Prior { mean, shape: figures.weibull.0 };
    let Lives::Weibull { shape, scale } = fit::weibull(&seen, &prior) else { panic!("another family") };
    near(shape, figures.weibull.0, 0.004, "shape");
    near(scale / HOUR, figures.weibull.1, 0.03, "scale");
    if let Some((spread, middle)) = figures.lognormal {
        let Lives::Lognormal { spread: is, median } = fit::lognormal(&seen) else { panic!("another family") };
        near(is, spread, 0.002, "spread");
        near(median / HOUR, middle, 0.006, "median of the lognormal");
    } else {
        // Below the cap: what is left there ends at once by the model, and within an hour in truth.
        let below = lives.iter().enumerate().filter(|(_, life)| **life < fit::CAP);
        let off = below.map(|(i, life)| (1.0 - Lives::gcp_2019().alive_at(*life) - (i as f64 + 0.5) / n).abs());
        near(off.fold(0.0, f64::max), 0.093, 0.005, "deviation of the bathtub");
    }
}

#[test]
fn every_recorded_file_is_read() {
    let files = [
        "bamboo-aws-g4dn-count.csv",
        "bamboo-aws-p2-count.csv",
        "parcae-aws-p3-count.csv",
        "parcae-aws-p3-hh_55_65.jsonl",
        "parcae-aws-p3-hl_15_25.jsonl",
        "parcae-aws-p3-lh_80_90.jsonl",
        "parcae-aws-p3-ll_10_11.jsonl",
    ];
    for file in files {
        let Some(trace) = recorded(file) else { continue };
        let over: f64 = trace.lives.iter().map(|life| life.lived).sum();
        let mean = over / trace.interrupted().len() as f64 / HOUR;
        eprintln!("{file}: {} lives, {} interrupted, one in {mean:.2} h", trace.lives.len(), trace.interrupted().len());
        assert!(
            trace.lives.iter().all(|life| life.lived > 0.0 && life.lived < 100.0 * HOUR),
            "{file}: the unit is right"
        );
        assert!((0.1..50.0).contains(&mean), "{file}: {mean} h");
    }
}
