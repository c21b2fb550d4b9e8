//! Words of the outside: each is written down and passed on to everything that runs.

use prunella_attempt::Control;
use prunella_journal::{Event, StopHow};

use crate::{EngineError, driver::Driver};

impl Driver<'_> {
    /// Passes a word on to everything that runs; a hint that was heard before is nothing new.
    pub(crate) fn obey(&mut self, word: Control) -> Result<(), EngineError> {
        let before = self.word.clone();
        match &word {
            _ if before == Control::Kill => return Ok(()),
            Control::Run => return Ok(()),
            Control::Hint(_) => {
                let mut new = word.new_hints(&before).peekable();
                if before.ends() || new.peek().is_none() {
                    return Ok(());
                }
                for hint in new {
                    let (source, what) = (hint.source.clone(), hint.what.clone());
                    self.append_if_legal(Event::HintReceived { source, what })?;
                }
            }
            Control::Notice(_) => self.append_if_legal(Event::StopRequested { how: StopHow::Checkpoint })?,
            Control::Kill => self.append_if_legal(Event::StopRequested { how: StopHow::Now })?,
        }
        self.word = before.and(word);
        // Also attempts that wait for a slot: the journal does not know them yet.
        for active in self.active.values() {
            active.control.send_replace(self.word.clone());
        }
        Ok(())
    }
}
