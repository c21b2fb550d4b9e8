//! The crash points of one phase of a real run: counted by a run that nobody disturbs, then taken by others, one each.

use std::{ffi::OsString, io, path::Path};

use prunella_process::Signal;
use prunella_sys::{CRASH_POINTS, CrashAt, KILL_AT, Operation, Passed, Phase, SeededRandom, Sys};
use std::os::unix::process::ExitStatusExt;

use crate::{
    oracle::broken,
    play::{Ended, Live, Patience, Played, RESUMABLE, TICK},
    subject::Subject,
};

/// A crash point, and what is done there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Which.
    pub at: CrashAt,
    /// What the run that counted them was about to do there, in words.
    pub what: String,
}

/// Where the first engine ends so that a later one has something to restore: the first checkpoint has just become durable.
const FIRST_CHECKPOINT: CrashAt =
    CrashAt { phase: Phase::Checkpoint, only: Some(Operation::Told), number: 1, after: false };

/// Runs once in the empty directory `dir`, and returns all crash points that are passed; with `restoring`, those of an engine
/// that goes on from the first checkpoint.
///
/// # Errors
/// The program cannot be started.
pub async fn passed(
    sys: &Sys,
    subject: &Subject,
    dir: &Path,
    restoring: bool,
    patience: Patience,
) -> io::Result<(Played, Vec<Passed>)> {
    let told = dir.join("points");
    let counting = vec![(CRASH_POINTS, told.clone().into_os_string())];
    let engines = match restoring {
        true => vec![kill_at(FIRST_CHECKPOINT), counting],
        false => vec![counting],
    };
    let random = SeededRandom::new(0);
    let mut live = Live::begin(sys, subject, dir, &random, patience, (&[], &engines[0]))?;
    let outcome = through(&mut live, &engines, None).await;
    let played = live.told(outcome).await?;
    Ok((played, read(sys, &told, dir)))
}

/// Returns the points of a phase, those after an operation behind the one before it.
pub fn points(passed: &[Passed], phase: Phase) -> Vec<Point> {
    let mut found = Vec::new();
    for (at, passed) in (1..).zip(passed.iter().filter(|passed| passed.phases.contains(&phase))) {
        let point = |after: bool| Point {
            at: CrashAt { phase, only: None, number: at, after },
            what: format!("{} {} {}", if after { "after" } else { "before" }, passed.operation.name(), passed.what),
        };
        found.push(point(false));
        if passed.operation.reply_can_be_lost() {
            found.push(point(true));
        }
    }
    found
}

/// Runs once in the empty directory `dir`: an engine ends at the point, others go on, and nothing may be lost.
///
/// [`Played::strikes`] is 0 if this run did not come to the point.
///
/// # Errors
/// The program cannot be started.
pub async fn play_point(
    sys: &Sys,
    subject: &Subject,
    dir: &Path,
    at: CrashAt,
    patience: Patience,
) -> io::Result<Played> {
    let told = dir.join("points");
    let mut last = kill_at(at);
    last.push((CRASH_POINTS, told.clone().into_os_string()));
    let engines = match at.phase {
        Phase::Restore => vec![kill_at(FIRST_CHECKPOINT), last],
        _ => vec![last],
    };
    let random = SeededRandom::new(0);
    let mut live = Live::begin(sys, subject, dir, &random, patience, (&[], &engines[0]))?;
    let outcome = through(&mut live, &engines, Some((at, &told, dir))).await;
    live.told(outcome).await
}

fn kill_at(at: CrashAt) -> Vec<(&'static str, OsString)> {
    vec![(KILL_AT, at.to_string().into())]
}

/// Returns the points that were told of, with paths below `dir` as they are from there.
fn read(sys: &Sys, told: &Path, dir: &Path) -> Vec<Passed> {
    let text = sys.fs.read(told).unwrap_or_default();
    let below = format!("{}/", dir.display());
    let passed = String::from_utf8_lossy(&text).lines().filter_map(Passed::read).collect::<Vec<_>>();
    passed.into_iter().map(|passed| Passed { what: passed.what.replace(&below, ""), ..passed }).collect()
}

/// Goes through engines that end at points, one after the other, and from the last of them on to the end of the run.
async fn through(
    live: &mut Live<'_>,
    engines: &[Vec<(&str, OsString)>],
    wanted: Option<(CrashAt, &Path, &Path)>,
) -> Result<(), Ended> {
    for (n, variables) in engines.iter().enumerate() {
        if n > 0 {
            live.go_on_with(variables)?;
        }
        let last = n + 1 == engines.len();
        if let Some(code) = until_killed(live).await? {
            live.note(format!("the run ended with {code}"));
            live.played.code = Some(code);
            return live.end().await;
        }
        match wanted {
            Some((at, told, dir)) if last => {
                live.played.strikes += 1;
                let what = points(&read(live.sys, told, dir), at.phase).into_iter().find(|point| point.at == at);
                live.note(format!("killed at {at}: {}", what.map_or_else(String::new, |point| point.what)));
            }
            _ => live.note(format!("killed at {}", FIRST_CHECKPOINT)),
        }
        live.oracle.check().await?;
        live.published_is_whole()?;
    }
    live.go_on_with(&[])?;
    live.whole(&[]).await
}

/// Waits until the engine is killed, which answers nothing, or the run has ended.
async fn until_killed(live: &mut Live<'_>) -> Result<Option<i32>, Ended> {
    let until = live.sys.clock.monotonic() + live.patience.end;
    loop {
        if let Some(status) = live.engine.try_wait().map_err(Ended::Start)? {
            match (status.code(), status.signal()) {
                (Some(RESUMABLE), _) => {
                    live.note("the engine ended, and can be gone on from");
                    live.go_on_with(&[])?;
                }
                (Some(code), _) => return Ok(Some(code)),
                (None, Some(signal)) if signal == Signal::KILL.as_raw() => return Ok(None),
                (None, _) => return Err(broken("I10 ends", format!("an engine ended by itself with {status}")).into()),
            }
        }
        if live.sys.clock.monotonic() >= until {
            return Err(broken("I10 ends", "the run does not end").into());
        }
        live.sys.clock.sleep(TICK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_point_of_the_phase_is_one_and_what_others_see_at_once_is_two() {
        let passed = |phases: &[Phase], operation, what: &str| Passed {
            phases: phases.to_vec(),
            operation,
            what: what.to_owned(),
        };
        let all = [
            passed(&[Phase::Upload, Phase::Promote], Operation::Create, "a"),
            passed(&[Phase::Checkpoint], Operation::Told, "c"),
            passed(&[Phase::Promote, Phase::Commit], Operation::Transaction, "end"),
        ];
        let of = |phase| {
            points(&all, phase).into_iter().map(|point| format!("{} {}", point.at, point.what)).collect::<Vec<_>>()
        };
        assert_eq!(
            of(Phase::Promote),
            ["promote:1 before create a", "promote:2 before transaction end", "promote:2:after after transaction end"]
        );
        assert_eq!(of(Phase::Checkpoint), ["checkpoint:1 before told c"]);
        assert!(of(Phase::Restore).is_empty());
    }
}
