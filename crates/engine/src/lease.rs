//! Becoming the driver of a run: who drove it before is dead, or is replaced.

use std::sync::{Mutex, PoisonError};

use prunella_attempt::{Control, Host};
use prunella_model::RunId;
use prunella_store::{
    DriverLease,
    records::{DriverRecord, Owner},
};
use tokio::sync::watch;

use crate::{DriveOptions, EngineError, Spectator};

/// Takes the run as its driver, unless another lives; who does not want to wait for that any more takes nothing.
pub(crate) async fn lease(
    host: &Host,
    run: &RunId,
    options: &DriveOptions,
    control: &mut watch::Receiver<Control>,
    spectator: &dyn Spectator,
) -> Result<DriverLease, EngineError> {
    let watched: Mutex<Option<Owner>> = Mutex::default();
    let watching = |there: &DriverRecord| {
        let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.as_ref() != Some(&there.owner) {
            spectator.watches(&there.owner);
            *watched = Some(there.owner.clone());
        }
    };
    let leasing = host.store.drive_refilling(run, &host.owner, options.take_over, options.again.refill(), &watching);
    tokio::select! {
        biased;
        lease = leasing => return Ok(lease?),
        Ok(_) = control.wait_for(|word| matches!(word, Control::Notice(_) | Control::Kill)) => {}
    }
    // Whoever waits for another engine and does not want to any more is told which; without one there is none to name.
    Err(match watched.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(owner) => EngineError::Driven { run: run.clone(), owner: Box::new(owner) },
        None => EngineError::NotTakenUp { run: run.clone() },
    })
}
