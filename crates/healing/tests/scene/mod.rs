//! A step that fails again and again, for tests.

use prunella_healing::{Ending, Evidence, ExitCode, JitterSeed, Phase, Remedy, Retry, Spent, Traits, assess, remedy};
use prunella_model::{CheckpointId, Class, Digest, Epoch, RetryPolicy, RunId, SlotId, StepId, StepKey, StepName};

/// One (run, step) with its counters.
pub struct Scene {
    pub policy: RetryPolicy,
    pub step: Traits,
    pub spent: Spent,
    pub attempt: u64,
}

impl Scene {
    /// Returns a deterministic step with or without checkpoints that has not failed yet.
    pub fn new(has_checkpoint: bool) -> Self {
        let step = Traits { has_checkpoint, deterministic: true, ..Traits::default() };
        Self { policy: RetryPolicy::default(), step, spent: Spent::default(), attempt: 0 }
    }

    /// Returns the class of the next failure and what is done about it.
    pub fn fail(&mut self, e: &Evidence) -> (Class, Remedy) {
        self.attempt += 1;
        let (class, spent) = assess(&self.spent, e, &self.step);
        self.spent = spent;
        let run = RunId::new("r").expect("a run id");
        let step = StepId::plain(StepName::new("train").expect("a name"));
        let seed = JitterSeed { run: &run, step: &step, attempt: Epoch(self.attempt) };
        let done = remedy(&self.policy, &self.step, class, e, &self.spent, &seed);
        assert_eq!(done, remedy(&self.policy, &self.step, class, e, &self.spent, &seed), "a remedy can be replayed");
        (class, done)
    }

    /// Returns the retry that the next failure gets.
    #[allow(dead_code, reason = "not every test file uses all of the scene")]
    pub fn retried(&mut self, e: &Evidence) -> Retry {
        match self.fail(e) {
            (_, Remedy::Retry(retry)) => retry,
            other => panic!("not retried: {other:?}"),
        }
    }

    /// Returns class, exit code and reason with which the next failure is given up.
    #[allow(dead_code, reason = "not every test file uses all of the scene")]
    pub fn given_up(&mut self, e: &Evidence) -> (Class, ExitCode, String) {
        match self.fail(e) {
            (_, Remedy::GiveUp { class, exit, why, hint }) => {
                assert!(!why.is_empty() && !hint.is_empty());
                (class, exit, why)
            }
            other => panic!("not given up: {other:?}"),
        }
    }
}

/// Returns the checkpoint `seq` of attempt `epoch`.
pub fn checkpoint(epoch: u64, seq: u64) -> CheckpointId {
    CheckpointId { slot: SlotId { key: StepKey(Digest::of(b"key")), epoch: Epoch(epoch) }, seq }
}

/// Returns the evidence of a program that ran and ended so.
pub fn ran(ended: Ending) -> Evidence {
    Evidence::of(ended, Phase::Run)
}

/// Returns the evidence of a program that exited with this code and said this last.
#[allow(dead_code, reason = "not every test file uses all of the scene")]
pub fn exited(code: i32, stderr: &str) -> Evidence {
    Evidence { stderr_tail: stderr.lines().map(str::to_owned).collect(), ..ran(Ending::Exited { code }) }
}

/// Returns the evidence of a program that a signal from outside ended.
#[allow(dead_code, reason = "not every test file uses all of the scene")]
pub fn signaled(signal: i32) -> Evidence {
    ran(Ending::Signaled { signal, by_us: None })
}
