//! What happens to the engine of a run: it dies, is stopped, and goes on to the end.

use std::sync::Arc;

use prunella_healing::{Ending, Evidence, Phase};
use prunella_journal::*;

use super::Sim;

impl Sim<'_> {
    /// The engine dies: everything that is not in the journal or the store is gone, and another engine goes on.
    pub fn crash(&mut self) {
        self.doing.clear();
        self.went.clear();
        self.cut_publications();
        self.state = RunState::fold(Arc::clone(&self.planned), &self.journal).expect("its own journal");
        self.plan.follow(Arc::clone(self.state.topology()));
        self.new_driver();
        let running: Vec<StepIndex> = self.state.running().iter().collect();
        for step in running {
            let StepState::Running(running) = self.state.state(step) else { unreachable!() };
            let slot = running.slot;
            let commit = self.commits.get(&slot.key).and_then(|all| all.iter().find(|commit| commit.slot == slot));
            match commit.map(|commit| commit.artifacts.clone()) {
                Some(artifacts) => self.committed(step, slot, artifacts),
                None => self.ended(step, slot, Evidence::of(Ending::SupervisorDied, Phase::Run)),
            }
        }
    }

    pub fn stop(&mut self) {
        self.tell_if_legal(Event::StopRequested { how: StopHow::Checkpoint });
    }

    /// Goes on until the run ends.
    pub fn finish(&mut self) -> RunStatus {
        for _ in 0..100_000 {
            if let Some(status) = self.ask() {
                return status;
            }
            assert!(self.pass(), "nothing is under way, and the run has not ended: {:?}", self.stages());
        }
        panic!("the run does not end: {:?}", self.stages());
    }

    pub fn resume(&mut self) {
        self.doing.clear();
        self.went.clear();
        self.cut_publications();
        self.new_driver();
    }

    /// Goes on until the run ends, and disturbs it after so many things that happen: it dies, or it is stopped and resumed.
    pub fn disturbed(&mut self, disturbances: &[(u32, bool)]) -> RunStatus {
        for &(after, crash) in disturbances {
            for _ in 0..after {
                if let Some(status) = self.ask() {
                    return status;
                }
                if !self.pass() {
                    break;
                }
            }
            if crash {
                self.crash();
            } else {
                self.stop();
                assert!(matches!(self.finish(), RunStatus::Stopped | RunStatus::Succeeded | RunStatus::Failed));
                self.resume();
            }
        }
        self.finish()
    }
}
