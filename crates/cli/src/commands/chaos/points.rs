//! `prunella chaos --kill-at`: the engine ends at every crash point of a phase, a run for each.

use std::{path::Path, str::FromStr};

use prunella_chaos::{Made, Patience, Played, Point, Subject, passed, play_point, points};
use prunella_model::Pipeline;
use prunella_sys::{CrashAt, Phase, Random, SeededRandom};
use serde_json::{Value, json};

use super::{
    Chaos, millis,
    stores::{clear_all, clear_run},
    told,
    verdict::{self, Judge, Verdict},
};
use crate::{
    answer::{note, say, say_json},
    args::Output,
    context::Context,
    error::CliError,
    present::{Paint, lasting},
    resilience::Resilience,
};

/// Where engines are to be killed: in a phase, everywhere; or at one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KillAt {
    /// At every point of it.
    Phase(Phase),
    /// There alone.
    Point(CrashAt),
}

impl FromStr for KillAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.contains([':', '.']) {
            true => text.parse().map(Self::Point).map_err(|error: prunella_sys::NoCrashPoint| error.to_string()),
            false => text.parse().map(Self::Phase).map_err(|error: prunella_sys::UnknownPhase| error.to_string()),
        }
    }
}

impl KillAt {
    fn phase(self) -> Phase {
        match self {
            Self::Phase(phase) => phase,
            Self::Point(at) => at.phase,
        }
    }
}

/// A run in which an engine was to end at a point.
struct Taken {
    point: Point,
    played: Played,
    verdict: Verdict,
}

/// How many crash points a phase has, of which so many are to be taken.
struct Counted {
    phase: Phase,
    points: usize,
    taken: usize,
}

impl Chaos {
    /// Takes the crash points that were asked for, one run each.
    pub(super) async fn take_points(
        &self,
        context: &Context,
        pipeline: &Pipeline,
        subject: &Subject,
        (dir, calm): (&Path, &Path),
        (expected, undisturbed): (&Made, &Played),
        patience: Patience,
    ) -> Result<u8, CliError> {
        let began = |error| CliError::Io(subject.binary.clone(), error);
        let (wanted, counted) = self.wanted(context, subject, dir, patience).await?;
        if wanted.is_empty() {
            clear_all(context, &subject.sites, dir).await;
            let what = "none of these phases has a crash point in this pipeline".to_owned();
            let hint = "it checkpoints and publishes nothing, or what there is was over before it could be killed";
            return Err(CliError::Usage(what, Some(hint.to_owned())));
        }
        let judge = Judge { subject, expected, pipeline, keep: self.keep };
        let (mut all, mut row) = (Vec::new(), Resilience::default());
        for (n, point) in wanted.into_iter().enumerate() {
            let home = dir.join(n.to_string());
            let played = play_point(&context.sys, subject, &home, point.at, patience).await.map_err(began)?;
            let verdict = judge.judges(context, home, &played, &mut row).await;
            let taken = Taken { point, played, verdict };
            note(&said(&taken));
            all.push(taken);
        }
        clear_run(context, &subject.sites, calm).await;
        if all.iter().all(|one| one.verdict.kept.is_none()) {
            clear_all(context, &subject.sites, dir).await;
        }
        self.tell(context, &all, &counted, (&row, undisturbed))?;
        Ok(u8::from(all.iter().any(|one| !one.verdict.wrong.is_empty())))
    }

    /// Counts the points of the phases, and returns those that are to be taken, in order.
    async fn wanted(
        &self,
        context: &Context,
        subject: &Subject,
        dir: &Path,
        patience: Patience,
    ) -> Result<(Vec<Point>, Vec<Counted>), CliError> {
        let began = |error| CliError::Io(subject.binary.clone(), error);
        let mut seen = Vec::new();
        for restoring in [false, true] {
            if !self.kill_at.iter().any(|kill| (kill.phase() == Phase::Restore) == restoring) {
                continue;
            }
            let home = dir.join(if restoring { "counted-restoring" } else { "counted" });
            let (counted, passed) = passed(&context.sys, subject, &home, restoring, patience).await.map_err(began)?;
            if counted.made.is_none() {
                let why = counted.broken.as_ref().map(|broken| broken.what.clone());
                let what = format!(
                    "the run in which crash points were to be counted did not succeed ({})\n{}",
                    why.unwrap_or_else(|| format!("it ended with {:?}", counted.code)),
                    told(&[], &counted, Some(&subject.sites.of(&home)))
                );
                return Err(CliError::Refused(what, None));
            }
            clear_run(context, &subject.sites, &home).await;
            seen.push((restoring, passed));
        }
        let (mut wanted, mut counts) = (Vec::new(), Vec::new());
        for kill in &self.kill_at {
            let of_phase = |phase| {
                let here = seen.iter().filter(|(restoring, _)| *restoring == (phase == Phase::Restore));
                here.flat_map(|(_, passed)| points(passed, phase)).collect::<Vec<Point>>()
            };
            match kill {
                KillAt::Phase(phase) => {
                    let all = of_phase(*phase);
                    counts.push(Counted { phase: *phase, points: all.len(), taken: 0 });
                    wanted.extend(all);
                }
                KillAt::Point(at) => {
                    let known = of_phase(at.phase).into_iter().find(|point| point.at == *at);
                    wanted.push(known.unwrap_or_else(|| Point { at: *at, what: String::new() }));
                }
            }
        }
        if let Some(most) = self.runs {
            let seed = self.seed.unwrap_or_else(|| context.sys.random.u64() >> 16);
            draw(&mut wanted, most as usize, seed);
        }
        for counted in &mut counts {
            counted.taken = wanted.iter().filter(|point| point.at.phase == counted.phase).count();
            note(&format!("{}: {}", counted.phase, counted.words()));
        }
        Ok((wanted, counts))
    }

    fn tell(
        &self,
        context: &Context,
        all: &[Taken],
        counted: &[Counted],
        (row, undisturbed): (&Resilience, &Played),
    ) -> Result<(), CliError> {
        match context.output {
            Output::Json => say_json(&json!({
                "kill_at": counted.iter().map(Counted::json).collect::<Vec<_>>(),
                "undisturbed_ms": millis(undisturbed.wall),
                "runs": all.iter().map(as_json).collect::<Vec<_>>(),
                "prunella": row.json(),
            })),
            Output::Text => {
                let mut text = Resilience::table(Paint::of(context), &[("prunella", row)]);
                for counted in counted {
                    text.push_str(&format!("{}: {}\n", counted.phase, counted.words()));
                }
                let missed = all.iter().filter(|one| one.played.strikes == 0).count();
                if missed > 0 {
                    text.push_str(&format!("{missed} of {} runs did not come to their point\n", all.len()));
                }
                if let Some(first) = all.iter().find(|one| !one.verdict.wrong.is_empty()) {
                    text.push_str(&format!("\n{} ({}):\n", first.point.at, first.point.what));
                    text.push_str(&told(
                        &first.verdict.wrong,
                        &first.played,
                        first.verdict.kept.as_ref().map(|(_, site)| site),
                    ));
                    text.push_str(&format!("  again: {} --kill-at {}\n", self.again(), first.point.at));
                }
                say(&text)
            }
        }
    }
}

/// Leaves so many, drawn by the seed, in the order in which they were.
fn draw(points: &mut Vec<Point>, most: usize, seed: u64) {
    let random = SeededRandom::new(seed);
    while points.len() > most {
        let at = usize::try_from(random.u64() % points.len() as u64).unwrap_or(0);
        points.remove(at);
    }
}

impl Counted {
    fn words(&self) -> String {
        match (self.points, self.taken) {
            (0, _) => "no crash point".to_owned(),
            (all, taken) if all == taken => format!("all {all} crash points"),
            (all, taken) => format!("{taken} of {all} crash points, drawn by the seed"),
        }
    }

    fn json(&self) -> Value {
        json!({ "phase": self.phase.name(), "points": self.points, "taken": self.taken })
    }
}

fn said(taken: &Taken) -> String {
    let mark = if taken.verdict.wrong.is_empty() { "✓" } else { "✗" };
    let missed = if taken.played.strikes == 0 { " · not reached" } else { "" };
    let wrong = taken.verdict.wrong.first().map_or_else(String::new, |first| format!(" · {first}"));
    let (at, what) = (taken.point.at, &taken.point.what);
    format!("{mark} {at} · {what} · {}{missed}{wrong}", lasting(millis(taken.played.wall)))
}

fn as_json(taken: &Taken) -> Value {
    let Taken { point, played, verdict } = taken;
    let mut json = verdict::as_json(played, verdict);
    json["at"] = json!(point.at.to_string());
    json["what"] = json!(point.what);
    json["reached"] = json!(played.strikes > 0);
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_or_one_point_of_it_is_read_and_other_words_are_told_what_there_is() {
        assert_eq!("commit".parse(), Ok(KillAt::Phase(Phase::Commit)));
        let at = "commit:2:after".parse::<CrashAt>().unwrap();
        assert_eq!("commit:2:after".parse(), Ok(KillAt::Point(at)));
        assert!("rain".parse::<KillAt>().unwrap_err().contains("there are `upload`"));
        assert!("commit:".parse::<KillAt>().unwrap_err().contains("is no crash point"));
    }

    #[test]
    fn a_seed_draws_the_same_points_and_keeps_their_order() {
        let at = |n: u64| Point { at: format!("promote:{n}").parse().unwrap(), what: String::new() };
        let drawn = |seed| {
            let mut points: Vec<Point> = (1..=20).map(at).collect();
            draw(&mut points, 5, seed);
            points.into_iter().map(|point| point.at.number).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert!(drawn(3).is_sorted() && drawn(3).len() == 5);
    }
}
