//! Reading pieces of objects: each is verified, in a second fresh read if the first one found damage.

use std::{
    io::{self, Read, Seek, SeekFrom, Take},
    path::{Path, PathBuf},
    sync::Arc,
};

use prunella_model::Digest;
use prunella_objects::{Freshness, ObjectKey, ObjectReader, ObjectsError, SMALL_BYTES};
use prunella_sys::{Fs, blocking, mutated};

use crate::{Store, StoreError, hashing::hash_either};

/// A stretch of an object and what it must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub offset: u64,
    pub size: u64,
    pub digest: Digest,
    /// Whether the object holds nothing else.
    pub whole: bool,
}

/// What is done with the bytes of pieces.
pub(crate) trait Sink: Send + Sync + 'static {
    /// Takes all bytes of a piece and says what they were; `local` is a file that holds them and nothing else.
    fn take(&self, at: usize, reader: &mut Take<&mut ObjectReader>, local: Option<&Path>) -> io::Result<(Digest, u64)>;

    /// Forgets the piece again: its bytes were wrong.
    fn reject(&self, at: usize) -> io::Result<()>;

    /// Returns what an error is about.
    fn about(&self, at: usize) -> PathBuf;
}

/// Looks, and keeps nothing.
pub(crate) struct Check {
    fs: Arc<dyn Fs>,
    processors: usize,
    about: PathBuf,
}

impl Sink for Check {
    fn take(&self, _: usize, reader: &mut Take<&mut ObjectReader>, local: Option<&Path>) -> io::Result<(Digest, u64)> {
        let size = reader.limit();
        hash_either(&*self.fs, local, reader, size, self.processors)
    }

    fn reject(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn about(&self, _: usize) -> PathBuf {
        self.about.clone()
    }
}

/// From where an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A copy on this machine, if there is one.
    Nearest,
    /// A copy on this machine, if there is one; where there is none, none is made: what is read leaves the store.
    Passing,
    /// The store itself: what damage is concluded from (protocol: Damage).
    Store,
}

/// To hand so few pieces to another thread would take longer than to read them.
const FEW: usize = 16;

/// A piece that is not what it must be, and what it is.
pub(crate) type Wrong = (usize, String);

impl Store {
    /// Returns what looks at pieces of `object` and keeps nothing.
    pub(crate) fn check(&self, object: &str) -> Check {
        Check { fs: self.sys.fs.clone(), processors: self.sys.machine.cpu_count(), about: object.into() }
    }

    /// Reads pieces of one object into `sink`; answers those that were wrong in two fresh reads.
    ///
    /// One wrong read is no damage: a bad cable is no bad object (protocol: Damage).
    pub(crate) async fn read_pieces(
        &self,
        object: &str,
        pieces: Arc<[Piece]>,
        sink: Arc<dyn Sink>,
    ) -> Result<Vec<Wrong>, StoreError> {
        self.read_pieces_from(Source::Nearest, object, pieces, sink).await
    }

    /// Reads as [`Store::read_pieces`], the first time from `first`, the second time always past every copy.
    pub(crate) async fn read_pieces_from(
        &self,
        first: Source,
        object: &str,
        pieces: Arc<[Piece]>,
        sink: Arc<dyn Sink>,
    ) -> Result<Vec<Wrong>, StoreError> {
        let all: Vec<usize> = (0..pieces.len()).collect();
        let wrong = self.read_once(first, object, &pieces, all, &sink).await?;
        if wrong.is_empty() || mutated(6) {
            return Ok(wrong);
        }
        let again = wrong.into_iter().map(|(at, _)| at).collect();
        self.read_once(Source::Store, object, &pieces, again, &sink).await
    }

    async fn read_once(
        &self,
        source: Source,
        object: &str,
        pieces: &Arc<[Piece]>,
        which: Vec<usize>,
        sink: &Arc<dyn Sink>,
    ) -> Result<Vec<Wrong>, StoreError> {
        let all_are = |problem: String| Ok(which.iter().map(|at| (*at, problem.clone())).collect());
        let (reader, base, local, _room) = match span(source, pieces, &which) {
            Some((from, size)) => {
                let room = self.lanes.down(false).await;
                match self.range(object, from, size, Freshness::CopyWillDo).await? {
                    Ok(frames) => (ObjectReader::from_frames(frames), from, None, Some(room)),
                    Err(problem) => return all_are(problem),
                }
            }
            None => match self.open(source, object).await {
                Ok((key, reader)) => (reader, 0, self.objects.local_path(&key).await?, None),
                Err(StoreError::Damaged { problem, .. }) => return all_are(problem),
                Err(error) => return Err(error),
            },
        };
        let bytes: u64 = which.iter().map(|at| pieces[*at].size).sum();
        let small = bytes <= SMALL_BYTES as u64 && which.len() <= FEW;
        let (pieces, sink) = (pieces.clone(), sink.clone());
        let work = move || read_all(reader, base, local.as_deref(), &pieces, &which, &*sink);
        if small { work() } else { blocking(work).await }
    }

    /// Opens an object that a record names; its absence, or damage that the backend is sure of, is damage.
    pub(crate) async fn open(&self, source: Source, object: &str) -> Result<(ObjectKey, ObjectReader), StoreError> {
        let damaged = |problem: String| StoreError::Damaged { object: object.to_owned(), problem };
        let key = ObjectKey::new(object).map_err(|_| damaged("the record names no object".to_owned()))?;
        let opened = match source {
            Source::Nearest | Source::Passing => self.objects.open(&key).await,
            Source::Store => self.objects.open_fresh(&key).await,
        };
        match opened {
            Ok(Some(reader)) => Ok((key, reader)),
            Ok(None) => Err(damaged("it is missing".to_owned())),
            Err(ObjectsError::Corrupt { what, .. }) => Err(damaged(what)),
            Err(error) => Err(error.into()),
        }
    }
}

/// So many bytes of an object are held in memory instead of in a file that goes at once.
const SPAN_BYTES: u64 = 16 << 20;

/// Returns which stretch of an object holds these pieces, if they pass by and fit into memory.
fn span(source: Source, pieces: &[Piece], which: &[usize]) -> Option<(u64, usize)> {
    let pieces = || which.iter().map(|at| &pieces[*at]);
    if source != Source::Passing || pieces().any(|piece| piece.whole) {
        return None;
    }
    let (from, to) =
        (pieces().map(|piece| piece.offset).min()?, pieces().map(|piece| piece.offset + piece.size).max()?);
    (to - from <= SPAN_BYTES).then_some((from, usize::try_from(to - from).ok()?))
}

/// Reads pieces; what is read begins at `base` of their object.
fn read_all(
    mut reader: ObjectReader,
    base: u64,
    local: Option<&Path>,
    pieces: &[Piece],
    which: &[usize],
    sink: &dyn Sink,
) -> Result<Vec<Wrong>, StoreError> {
    let (mut wrong, mut here, size) = (Vec::new(), 0, reader.size());
    for &at in which {
        let piece = &pieces[at];
        if here != piece.offset {
            reader.seek(SeekFrom::Start(piece.offset - base)).map_err(|error| StoreError::io(sink.about(at))(error))?;
        }
        let local = local.filter(|_| piece.offset == 0 && piece.size == size);
        let io = |error| StoreError::io(sink.about(at))(error);
        let (found, bytes) = sink.take(at, &mut (&mut reader).take(piece.size), local).map_err(io)?;
        here = if local.is_some() { u64::MAX } else { piece.offset + bytes };
        let problem = if bytes != piece.size || (piece.whole && size != piece.size) {
            format!("it has {} bytes instead of {}", if piece.whole { size } else { bytes }, piece.size)
        } else if found != piece.digest && !mutated(5) {
            format!("its bytes are {}, {} was recorded", found.short(), piece.digest.short())
        } else {
            continue;
        };
        sink.reject(at).map_err(|error| StoreError::io(sink.about(at))(error))?;
        wrong.push((at, problem));
    }
    Ok(wrong)
}
