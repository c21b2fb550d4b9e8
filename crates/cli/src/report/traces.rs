//! The traces of a run that is reported, for a receiver of OTLP.

use std::collections::HashMap;

use prunella_journal::{Event, read_sound};
use prunella_store::{
    Store,
    records::{End, EndRecord},
};
use prunella_telemetry::otlp::{Origin, Settings, send_whole};

use super::RunReport;
use crate::{context::Context, error::CliError};

impl RunReport {
    /// Sends the spans of the run and returns how many there were.
    ///
    /// # Errors
    /// [`CliError`] if the store or the receiver does not take part.
    pub async fn send(&self, context: &Context, store: &Store, settings: &Settings) -> Result<usize, CliError> {
        let record = store.graph(&self.run).await?;
        let (read, _) = read_sound(&**store.objects(), &self.run).await?;
        let mut recorded = HashMap::new();
        for stamped in &read.events {
            let (Event::AttemptEnded { slot, .. } | Event::StepCommitted { slot, .. }) = &stamped.event else {
                continue;
            };
            // One that was collected says nothing more; the journal knows less, but enough.
            if let Some(EndRecord { end, .. }) = store.end_of(slot).await? {
                let timeline = match end {
                    End::Committed(committed) => committed.timeline,
                    End::Closed(closed) => closed.timeline,
                };
                recorded.insert(*slot, timeline);
            }
        }
        let origin = Origin {
            store: store.id().to_owned(),
            run: self.run.to_string(),
            caller: record.trace_parent,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let sent = send_whole(&context.sys, settings, &origin, &read.events, |slot| recorded.get(slot).cloned()).await;
        sent.map_err(|problem| {
            let hint = "is a receiver there, and does it speak OTLP over HTTP? nothing of the run was changed";
            CliError::Refused(format!("the traces were not taken: {problem}"), Some(hint.to_owned()))
        })
    }
}
