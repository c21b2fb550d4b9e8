//! Looks at data that is not in the store, shared by attempts that want one at the same time: a walk over a million files, or a long
//! listing, is not made twice at once.

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
#[derive(Debug)]
pub(crate) struct Looks<S> {
    begun: AtomicU64,
    last: Mutex<HashMap<PathBuf, Last<S>>>,
}

type Last<S> = Arc<tokio::sync::Mutex<Option<Seen<S>>>>;

#[derive(Debug)]
struct Seen<S> {
    what: S,
    number: u64,
    ended: Duration,
}

impl<S> Default for Looks<S> {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), last: Mutex::default() }
    }
}

impl<S: Clone> Looks<S> {
    /// Looks at a place, as `look` does, unless somebody else's look will do.
    ///
    /// # Errors
    /// Those of `look`.
    pub(crate) async fn shared(
        &self,
        sys: &Sys,
        place: &Path,
        wanted: Wanted,
        look: impl Future<Output = Result<S, StoreError>>,
    ) -> Result<S, StoreError> {
        let asked = self.begun.load(Ordering::SeqCst);
        let last =
            self.last.lock().unwrap_or_else(PoisonError::into_inner).entry(place.to_owned()).or_default().clone();
        let mut last = last.lock().await;
        if let Some(seen) = &*last {
            let since = sys.clock.monotonic().saturating_sub(seen.ended);
            // One that began while this one waited has seen all that happened before it asked.
            if seen.number > asked || (wanted == Wanted::Recent && since <= RECENT) {
                return Ok(seen.what.clone());
            }
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let what = look.await?;
        *last = Some(Seen { what: what.clone(), number, ended: sys.clock.monotonic() });
        Ok(what)
    }
}

impl Looks<Look> {
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
        let (of, to, digests) = (sys.clone(), path.to_owned(), digests.to_owned());
        let look = async move {
            let seen = blocking(move || measure(&of, &to, &digests, Remembered::Kept)).await?;
            Ok(Look { artifact: seen.artifact, stamp: seen.stamp })
        };
        self.shared(sys, path, wanted, look).await
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
        let looks = Looks::<Look>::default();
        for text in ["one", "two", "three"] {
            write(&path, text);
            let look = looks.look(&sys, dir.path(), &path, Wanted::New).await.expect("seen");
            assert_eq!(look.artifact.digest, Digest::of(text.as_bytes()));
        }
    }

    #[tokio::test]
    async fn a_recent_look_will_do_for_a_beginning_and_an_old_one_will_not() {
        let (dir, path, sys, clock) = scene();
        let looks = Looks::<Look>::default();
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
        let looks = Looks::<Look>::default();
        let look = || looks.look(&sys, dir.path(), &path, Wanted::New);
        let (a, b, c, d) = tokio::join!(look(), look(), look(), look());
        assert!([a, b, c, d].iter().all(Result::is_ok));
        assert_eq!(looks.begun.load(Ordering::SeqCst), 2, "the first, and one for the three that asked meanwhile");
    }
}
