//! What goes wrong beside the store: processes, programs, machines, disks, clocks, at the times of a plan.

use std::time::Duration;

use prunella_attempt::{Control, Deadline};

use super::{
    plan::{At, Trouble},
    stage::{Order, Stage},
};

/// Lets everything of a plan go wrong, one after the other.
pub(crate) async fn go_wrong(stage: Stage, faults: Vec<At>) {
    let began = stage.world.now();
    for (n, At { ms, member, trouble }) in faults.into_iter().enumerate() {
        let passed = stage.world.now().saturating_sub(began);
        let wait = Duration::from_millis(ms).saturating_sub(passed);
        stage.world.sleep_ms(u64::try_from(wait.as_millis()).unwrap_or(0)).await;
        stage.say(member, "fault", &trouble.to_string());
        happens(&stage, member, trouble, stage.choice(4, n as u64));
    }
}

fn happens(stage: &Stage, member: usize, trouble: Trouble, drawn: u64) {
    if let Trouble::Store(fault) = trouble {
        return stage.world.arm(member, fault);
    }
    let Some((whom, machine)) = stage.engine_of(member) else { return };
    match trouble {
        Trouble::Store(_) => {}
        Trouble::Engine => stage.engine_gone(whom, None, false),
        Trouble::Both => stage.engine_gone(whom, None, true),
        Trouble::Guardian => stage.kill_guardian(whom),
        Trouble::Machine => stage.lose(machine),
        Trouble::Gone => {
            stage.abandon(member);
            stage.lose(machine);
        }
        Trouble::Pause(seconds) => {
            // Who stands still for long is given up by whoever watches, and comes back.
            stage.pause(whom, true, seconds > 90 && drawn.is_multiple_of(2));
            later(stage, seconds, move |stage| stage.pause(whom, false, false));
        }
        Trouble::Notice(seconds) => {
            // The clock of a machine is ahead of the world's.
            let offset = Duration::from_secs(1000 * (machine as u64 + 1));
            let at = stage.world.now() + offset + Duration::from_secs(seconds);
            stage.tell(whom, Control::Notice(Deadline::by("aws", at)));
            later(stage, seconds, move |stage| stage.lose(machine));
        }
        Trouble::Stop => stage.tell(whom, Control::Notice(Deadline::in_own_grace("stop"))),
        Trouble::Killed | Trouble::Memory | Trouble::Fails => {
            let order = match trouble {
                Trouble::Killed => Order::Outside,
                Trouble::Memory => Order::Memory,
                _ => Order::Fail,
            };
            if let Some(pid) = stage.some_program(member, drawn) {
                stage.order(pid, order);
            }
        }
        Trouble::Full(seconds) => {
            stage.disk.of(machine).set_full(true);
            later(stage, seconds, move |stage| stage.disk.of(machine).set_full(false));
        }
        Trouble::Wall(by) => {
            let by = by.cast_signed() * if by % 2 == 1 { -1000 } else { 1000 };
            *stage.world.state().wall_jumps.entry(machine).or_insert(0) += by;
        }
    }
}

fn later(stage: &Stage, seconds: u64, then: impl FnOnce(&Stage) + Send + 'static) {
    let stage_too = stage.clone();
    stage.enter(async move {
        stage_too.world.sleep_ms(seconds * 1000).await;
        then(&stage_too);
    });
}
