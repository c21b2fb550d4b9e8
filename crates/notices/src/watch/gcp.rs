//! Google Compute Engine: one question that waits for each key, until what it asks for changes.

use std::time::Duration;

use super::{EVERY, PATIENCE, Source};
use crate::{
    answers::{Seen, Unreadable, gcp},
    ask::{AskError, Asker},
};

/// How long the service holds a question back when nothing changes.
const HELD: Duration = Duration::from_secs(60);
/// An answer that came sooner than this did not wait for a change.
const SOON: Duration = Duration::from_secs(1);

/// One key below `instance/`.
pub(super) struct Key {
    asker: Asker,
    name: &'static str,
    read: fn(&str) -> Result<Seen, Unreadable>,
    /// Names the value seen last; nothing: the value is asked for without waiting.
    etag: Option<String>,
}

impl Key {
    pub(super) fn preempted(asker: Asker) -> Self {
        Self { asker, name: "preempted", read: gcp::preempted, etag: None }
    }

    pub(super) fn maintenance(asker: Asker) -> Self {
        Self { asker, name: "maintenance-event", read: gcp::maintenance, etag: None }
    }
}

impl Source for Key {
    async fn ask(&mut self) -> Result<Vec<Seen>, AskError> {
        let mut path = format!("/computeMetadata/v1/instance/{}", self.name);
        let mut patience = PATIENCE;
        // What was missed while it did not answer is asked for at once.
        if let Some(etag) = self.etag.take() {
            path.push_str(&format!("?wait_for_change=true&timeout_sec={}&last_etag={etag}", HELD.as_secs()));
            patience += HELD;
        }
        let answer = self.asker.get(&path, &[("Metadata-Flavor", "Google")], patience).await?;
        if answer.flavor.as_deref() != Some("Google") {
            return Err(AskError::Stranger { endpoint: self.asker.endpoint });
        }
        let seen = (self.read)(&answer.body)?;
        self.etag = answer.etag.filter(|etag| !etag.is_empty() && etag.bytes().all(|b| b.is_ascii_alphanumeric()));
        Ok(vec![seen])
    }

    fn rest(&self, took: Duration) -> Duration {
        match self.etag {
            // It cannot be asked to wait.
            None => EVERY,
            // Held back once, it will be again; a service that does not hold back is not asked without end.
            Some(_) => SOON.saturating_sub(took),
        }
    }
}
