//! Microsoft Azure: the list of scheduled events, and the machine's own name once there is one.

use std::time::Duration;

use super::{PATIENCE, Source};
use crate::{
    answers::{Seen, azure},
    ask::{AskError, Asker},
};

const EVENTS: &str = "/metadata/scheduledevents?api-version=2020-07-01";
const NAME: &str = "/metadata/instance/compute/name?api-version=2021-02-01&format=text";
const HEADER: [(&str, &str); 1] = [("Metadata", "true")];
/// The first question switches events on for a machine, which may take two minutes.
const FIRST: Duration = Duration::from_secs(130);

pub(super) struct Azure {
    asker: Asker,
    answered: bool,
    name: Option<String>,
}

impl Azure {
    pub(super) fn new(asker: Asker) -> Self {
        Self { asker, answered: false, name: None }
    }

    /// Returns the name by which events know this machine.
    pub(super) async fn name(&mut self) -> Result<String, AskError> {
        let answer = self.asker.get(NAME, &HEADER, PATIENCE).await?;
        Ok(answer.body.trim().to_owned())
    }
}

impl Source for Azure {
    async fn ask(&mut self) -> Result<Vec<Seen>, AskError> {
        let patience = if self.answered { PATIENCE } else { FIRST };
        let answer = self.asker.get(EVENTS, &HEADER, patience).await?;
        let now_ms = self.asker.clock.wall_ms();
        let all = azure::scheduled_events(&answer.body, None, now_ms)?;
        self.answered = true;
        if all.is_empty() {
            return Ok(all);
        }
        if self.name.is_none() {
            // Unknown, every event counts: to end early costs less than not to.
            self.name = self.name().await.ok().filter(|name| !name.is_empty());
        }
        Ok(azure::scheduled_events(&answer.body, self.name.as_deref(), self.asker.clock.wall_ms())?)
    }
}
