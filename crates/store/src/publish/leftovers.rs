//! What dead processes left beside a target: removed by the next one that proves them dead.

use prunella_model::RunId;

use super::Place;
use crate::{Store, StoreError};

impl Store {
    /// Removes what processes that are proved dead left in the directory of the target.
    ///
    /// What cannot be proved, or not be removed, stays: it has a name that nobody takes for a publication.
    pub(crate) async fn remove_leftovers(&self, at: &Place<'_>) -> Result<(), StoreError> {
        let entries = self.sys.fs.list(at.parent()).map_err(StoreError::io(at.parent()))?;
        for entry in entries {
            let Some(part) = entry.name.to_str().and_then(Part::parse) else { continue };
            // A number that nobody has is proof on this machine only; the owner's record says which it was.
            if self.doer_gone(&part.run, part.writer).await? {
                let _stays = self.remove(&at.parent().join(&entry.name));
            }
        }
        Ok(())
    }
}

/// The name of something unfinished: `tmp-<run>-<pid>-<writer>.part`.
#[derive(Debug, PartialEq)]
struct Part<'a> {
    run: RunId,
    writer: &'a str,
}

impl<'a> Part<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let inner = name.strip_prefix("tmp-")?.strip_suffix(".part")?;
        let (rest, writer) = inner.rsplit_once('-')?;
        let (run, pid) = rest.rsplit_once('-')?;
        pid.parse::<u32>().ok()?;
        let hex = writer.len() == 32 && writer.bytes().all(|b| b.is_ascii_hexdigit());
        Some(Self { run: RunId::new(run).ok().filter(|_| hex)?, writer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_prunella_gives_is_taken_for_a_leftover() {
        let writer = "0123456789abcdef0123456789abcdef";
        let name = format!("tmp-0193c0de-0000-7000-17-{writer}.part");
        let part = Part::parse(&name).expect("it is one");
        assert_eq!((part.run.as_str(), part.writer), ("0193c0de-0000-7000", writer));
        for other in ["tmp.part", "tmp-a-1-x.part", &format!("tmp-a-b-{writer}.part"), &format!("a-1-{writer}.part")] {
            assert_eq!(Part::parse(other), None, "{other}");
        }
    }
}
