//! Looks at mounted data, shared by attempts that want one at the same time: a walk over a million files is not made twice at once.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prunella_model::{Artifact, Digest};
use prunella_store::{Remembered, StoreError, measure};
use prunella_sys::{Sys, blocking};

/// A look that ended no longer ago is as good as a new one for an attempt that begins: the look at its end decides.
const RECENT: Duration = Duration::from_secs(1);

/// What was seen of mounted data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// What it is.
    pub(crate) artifact: Artifact,
    /// What tells whether a file of it was touched since.
    pub(crate) stamp: Option<Digest>,
    number: u64,
    ended: Duration,
}

/// Which look will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One that begins now.
    New,
    /// A recent one, too.
    Recent,
}

/// The last look at each place; at most one at a time.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    begun: AtomicU64,
    last: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<Option<Look>>>>>,
}

impl Looks {
    /// Looks at what lies at `path`; digests are remembered below `digests`.
    ///
    /// # Errors
    /// As [`measure`].
    pub(crate) async fn look(
        &self,
        sys: &Sys,
        digests: &Path,
        path: &Path,
        wanted: Wanted,
    ) -> Result<Look, StoreError> {
        let asked = self.begun.load(Ordering::SeqCst);
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_default().clone();
        let mut last = last.lock().await;
        if let Some(look) = *last {
            let since = sys.clock.monotonic().saturating_sub(look.ended);
            // One that began while this one waited has seen all that happened before it asked.
            if look.number > asked || (wanted == Wanted::Recent && since <= RECENT) {
                return Ok(look);
            }
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let (of, path, digests) = (sys.clone(), path.to_owned(), digests.to_owned());
        let seen = blocking(move || measure(&of, &path, &digests, Remembered::Kept)).await?;
        let look = Look { artifact: seen.artifact, stamp: seen.stamp, number, ended: sys.clock.monotonic() };
        *last = Some(look);
        Ok(look)
    }
}

#[cfg(test)]
mod tests {
    use prunella_sys::ManualClock;

    use super::*;

    /// A file and a machine whose clock stands still.
    fn scene() -> (tempfile::TempDir, PathBuf, Sys, Arc<ManualClock>) {
        let (dir, clock) = (tempfile::tempdir().expect("a directory"), Arc::new(ManualClock::new()));
        let path = dir.path().join("data");
        write(&path, "one");
        (dir, path, Sys { clock: clock.clone(), ..Sys::real() }, clock)
    }

    fn write(path: &Path, text: &str) {
        let sys = Sys::real();
        let _absent = sys.fs.remove_file(path);
        let written =
            sys.fs.create_new(path).and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        written.expect("written");
    }

    #[tokio::test]
    async fn a_new_look_sees_what_happened_before_it_was_asked_for() {
        let (dir, path, sys, _) = scene();
        let looks = Looks::default();
        for text in ["one", "two", "three"] {
            write(&path, text);
            let look = looks.look(&sys, dir.path(), &path, Wanted::New).await.expect("seen");
            assert_eq!(look.artifact.digest, Digest::of(text.as_bytes()));
        }
    }

    #[tokio::test]
    async fn a_recent_look_will_do_for_a_beginning_and_an_old_one_will_not() {
        let (dir, path, sys, clock) = scene();
        let looks = Looks::default();
        let recent =
            || async { looks.look(&sys, dir.path(), &path, Wanted::Recent).await.expect("seen").artifact.digest };
        assert_eq!(recent().await, Digest::of(b"one"));
        write(&path, "two");
        clock.advance(RECENT);
        assert_eq!(recent().await, Digest::of(b"one"));
        clock.advance(Duration::from_nanos(1));
        assert_eq!(recent().await, Digest::of(b"two"));
    }

    #[tokio::test]
    async fn those_who_wait_share_one_look_that_begins_after_all_of_them_asked() {
        let (dir, path, sys, _) = scene();
        let looks = Looks::default();
        let look = || looks.look(&sys, dir.path(), &path, Wanted::New);
        let (a, b, c, d) = tokio::join!(look(), look(), look(), look());
        assert!([a, b, c, d].iter().all(Result::is_ok));
        assert_eq!(looks.begun.load(Ordering::SeqCst), 2, "the first, and one for the three that asked meanwhile");
    }
}
