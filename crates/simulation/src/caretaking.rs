//! Members that run nothing: collectors, and auditors that read all that was promised.

use std::sync::Arc;

use prunella_store::{Promiser, Retention, StoreError};
use prunella_sys::Fs;

use crate::{
    engine::{Journals, pause},
    machine::Process,
    world::World,
};

const COLLECTIONS: u64 = 2;
const AUDITS: u64 = 1;

/// What a collector retains here: as little as it may.
pub(crate) const LEAST: Retention = Retention { runs: 1, checkpoints: 1 };

/// Collects now and then.
pub(crate) async fn collect(world: World, fs: Arc<dyn Fs>, member: usize) {
    for n in 0..COLLECTIONS {
        let process = Process::start(&world, &fs, member, n as usize, (member % 2 + n as usize) % 2);
        let collecting = async {
            process.store.sys().clock.sleep(pause(&process, n)).await;
            process.store.collect(&Journals(world.clone()), &LEAST).await
        };
        // One that is killed or refused leaves nothing needed deleted; the next goes on.
        let _goes_on = process.run(collecting).await;
    }
}

/// Reads everything that was promised, and marks what is damaged.
pub(crate) async fn audit(world: World, fs: Arc<dyn Fs>, member: usize) {
    for n in 0..AUDITS {
        let process = Process::start(&world, &fs, member, n as usize, 0);
        let auditing = async {
            process.store.sys().clock.sleep(pause(&process, n)).await;
            audit_once(&process).await
        };
        let _goes_on = process.run(auditing).await;
    }
}

pub(crate) async fn audit_once(process: &Process) -> Result<(), StoreError> {
    for promised in process.store.promises(None).await?.artifacts {
        let Promiser::Commit { slot, .. } = promised.by else { continue };
        match process.store.verify(&promised.stored).await {
            Ok(_) => {}
            Err(StoreError::Damaged { object, problem }) => {
                process.store.mark_damaged(&slot, &object, &problem).await?
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
