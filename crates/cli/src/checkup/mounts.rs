//! Whether steps can be kept from writing to data that is mounted.

use std::io;

use prunella_process::{Guardian, GuardianOptions, ProcessError, SpawnSpec};

use super::{Check, Health, check};
use crate::project::Place;

pub async fn check_them(place: &Place) -> Check {
    let help = "steps could write to data with `access: mount`; what they change is found, and then nothing is committed. It takes \
                Linux 5.12 and root, or a container with CAP_SYS_ADMIN";
    match try_it(place).await {
        Ok(None) => check("mounts", Health::Good, "steps cannot write to mounted data", ""),
        Ok(Some(error)) => check("mounts", Health::Note, format!("mounted data is not protected: {error}"), help),
        Err(error) => check("mounts", Health::Note, format!("not tried: {error}"), help),
    }
}

/// Starts a program that cannot write to the directory of the pipeline file; answers why it can.
async fn try_it(place: &Place) -> Result<Option<io::Error>, ProcessError> {
    let resources = |source| ProcessError::Resources { what: "the directory", source };
    let base = std::fs::canonicalize(&place.base).map_err(resources)?;
    let guardian = Guardian::start(GuardianOptions::default()).await?;
    let spec = SpawnSpec {
        attempt_id: "doctor".to_owned(),
        argv: vec!["/bin/sh".into(), "-c".into(), "true".into()],
        env: Vec::new(),
        cwd: "/".into(),
        memory_limit: None,
        read_only: vec![base],
    };
    let unprotected = guardian.spawn(spec).await.map(|running| running.unprotected());
    guardian.stop().await;
    unprotected
}
