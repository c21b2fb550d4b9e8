//! A round in which an orchestrator starts the attempts: one `exec` after the other, killed like everything else.

use std::time::{Duration, Instant};

use prunella_chaos::{Broken, broken};
use prunella_model::RunId;
use prunella_sys::Random;

use super::Action;
use super::oracle::Oracle;
use super::round::{DEADLINE, Live};

impl Live<'_> {
    /// Runs every step by `exec` until it has committed; then `run` has only to end the run.
    pub(super) fn by_exec(&mut self, random: &dyn Random, actions: usize, oracle: &mut Oracle) -> Result<(), Broken> {
        let run = self.begin_run(oracle)?;
        let mut left = actions;
        for step in ["one", "two", "join"] {
            while !self.exec(&run, step, random, &mut left, oracle)? {}
        }
        self.go_on();
        // It is no engine that was killed.
        self.taken_up = None;
        Ok(())
    }

    /// Lets an engine make the run, and kills it as soon as the run is there.
    fn begin_run(&mut self, oracle: &Oracle) -> Result<RunId, Broken> {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(run) = oracle.run() {
                let _killed = self.engine.kill();
                let _status = self.engine.wait();
                self.note("the run is made");
                return Ok(run);
            }
            if self.wait(Duration::from_millis(1)).is_some() || Instant::now() > until {
                return Err(broken("I10 ends", "no run was made"));
            }
        }
    }

    /// Starts one `exec` and disturbs it; says whether the step is done.
    fn exec(
        &mut self,
        run: &RunId,
        step: &str,
        random: &dyn Random,
        left: &mut usize,
        oracle: &mut Oracle,
    ) -> Result<bool, Broken> {
        let before = oracle.progress_of(step)?;
        let seen = self.started.len();
        self.taken_up = None;
        // An orchestrator starts the next one: that is measured, not when it does.
        self.killed.clear();
        self.exec_up = Some(Instant::now());
        let mut command = self.project.command(&["exec", "--run", run.as_str(), "--step", step]);
        self.engine = command.spawn().expect("the binary can be started");
        let mut ended = None;
        while ended.is_none() && *left > 0 {
            ended = self.wait(Duration::from_micros(random.u64() % 400_000));
            if ended.is_some() {
                break;
            }
            let action = match Action::choose(random) {
                Action::Engine => Action::Exec,
                action => action,
            };
            if self.act(action, random) {
                *left -= 1;
                *self.round.done.entry(action).or_default() += 1;
                if action.ends_engine() {
                    ended = self.wait(DEADLINE);
                }
                oracle.check(&self.started)?;
            }
        }
        let status = ended.or_else(|| self.wait(DEADLINE));
        let Some(status) = status else { return Err(broken("I10 ends", format!("exec of `{step}` does not end"))) };
        self.note(format!("exec of `{step}` ended with {status}"));
        self.tick();
        for attempt in &self.started[seen..] {
            // All that had been stored when it began is behind it.
            if attempt.step == step && attempt.progress < before {
                let what = format!("{attempt:?} began behind epoch {before}, which was stored");
                return Err(broken("I4 ratchet", what));
            }
        }
        oracle.check(&self.started)?;
        match status.code() {
            Some(0) => Ok(true),
            // A signal that came before it listened, or ours.
            Some(75) | None => Ok(false),
            Some(code) => Err(broken("I10 ends", format!("exec of `{step}` ended with {code}"))),
        }
    }
}
