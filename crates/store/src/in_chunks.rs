//! Reading files that lie in chunks: fetched in ranges, several ahead, and compared before a byte is used.

use std::{
    collections::VecDeque,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use prunella_model::{Digest, Hasher, TreeNode, shown};
use prunella_objects::{Frames, Freshness, ObjectKey, ObjectReader, ObjectsError, sought};
use prunella_sys::{blocking, mutated};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    Store, StoreError,
    lanes::Room,
    pieces::Source,
    records::{Chunk, StoredArtifact, TreeManifest},
};

/// So many bytes are fetched at once.
const RANGE_BYTES: u64 = 8 << 20;

/// So many ranges of one file are fetched ahead.
pub(crate) const AHEAD: usize = 10;

/// Where the bytes of a file go, in order.
pub(crate) struct Out {
    /// What an error is about.
    pub(crate) about: PathBuf,
    pub(crate) write: Box<Write>,
}

type Write = dyn FnMut(&[u8]) -> io::Result<()> + Send;

impl Out {
    /// Returns what gives bytes to `write`, which is about `about`.
    pub(crate) fn new(about: impl Into<PathBuf>, write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static) -> Self {
        Self { about: about.into(), write: Box::new(write) }
    }
}

/// A file that lies in chunks.
#[derive(Debug, Clone)]
pub(crate) struct InChunks {
    /// What people call it.
    name: String,
    pub(crate) digest: Digest,
    /// The object of each chunk, and the chunk.
    pub(crate) chunks: Arc<[(Arc<str>, Chunk)]>,
}

impl InChunks {
    /// Returns an entry of a manifest, if it lies in chunks.
    pub(crate) fn of(manifest: &TreeManifest, at: u32) -> Option<Self> {
        let (chunks, entry) = (manifest.chunks_of(at)?, &manifest.entries.get(at as usize)?.entry);
        let TreeNode::File { digest, .. } = &entry.node else { return None };
        let mut last: Option<Arc<str>> = None;
        let mut with_object = |chunk: &Chunk| {
            let name = manifest.object(chunk.place);
            // Neighbours mostly lie in the same object.
            let object = last.take().filter(|last| **last == *name).unwrap_or_else(|| name.into());
            last = Some(object.clone());
            (object, *chunk)
        };
        let chunks = chunks.iter().map(&mut with_object).collect();
        Some(Self { name: entry.path.clone(), digest: *digest, chunks })
    }

    /// Returns what people call it: its path in a tree; nothing for a file alone.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns which chunks are fetched together: neighbours in one object, in order.
    pub(crate) fn ranges(&self) -> VecDeque<Range<usize>> {
        let mut ranges: VecDeque<Range<usize>> = VecDeque::new();
        let mut bytes = 0;
        for (at, (object, chunk)) in self.chunks.iter().enumerate() {
            let follows = at.checked_sub(1).is_some_and(|before| {
                let (of, before) = &self.chunks[before];
                of == object && before.place.offset + before.size_bytes == chunk.place.offset
            });
            match ranges.back_mut() {
                Some(range) if follows && bytes + chunk.size_bytes <= RANGE_BYTES => range.end = at + 1,
                _ => {
                    ranges.push_back(at..at + 1);
                    bytes = 0;
                }
            }
            bytes += chunk.size_bytes;
        }
        ranges
    }

    /// Returns where neighbouring chunks lie: the object, the offset and the size of all, no more than a range or one chunk.
    pub(crate) fn stretch(&self, chunks: Range<usize>) -> (&str, u64, usize) {
        let ((object, first), (_, last)) = (&self.chunks[chunks.start], &self.chunks[chunks.end - 1]);
        let offset = first.place.offset;
        (object, offset, usize::try_from(last.place.offset + last.size_bytes - offset).unwrap_or(usize::MAX))
    }

    fn damaged(&self, object: &str, problem: &str) -> StoreError {
        let problem = match self.name.as_str() {
            "" => problem.to_owned(),
            name => format!("`{}`: {problem}", shown(name.as_bytes())),
        };
        StoreError::Damaged { object: object.to_owned(), problem }
    }
}

/// A range that is being fetched; not any more once it is dropped.
pub(crate) struct Ahead<T>(JoinHandle<Result<T, StoreError>>);

/// What was fetched, and the room that it takes.
type Fetched = (Frames, Room);

impl<T: Send + 'static> Ahead<T> {
    pub(crate) fn begin(fetch: impl Future<Output = Result<T, StoreError>> + Send + 'static) -> Self {
        Self(tokio::spawn(fetch))
    }

    /// Returns what was fetched.
    pub(crate) async fn end(mut self) -> Result<T, StoreError> {
        (&mut self.0).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What has been handed on of a file, and to whom.
struct Hand {
    hasher: Hasher,
    out: Out,
}

impl Hand {
    /// Hands these chunks on; returns the first one that is not in `frames` as it should be, or their end.
    fn on(&mut self, file: &InChunks, chunks: Range<usize>, mut frames: Frames) -> io::Result<usize> {
        for at in chunks.clone() {
            let (_, chunk) = &file.chunks[at];
            let bytes = frames.split_to(usize::try_from(chunk.size_bytes).unwrap_or(usize::MAX));
            if bytes.len() as u64 != chunk.size_bytes {
                return Ok(at);
            }
            if digest(&bytes) != chunk.digest && !mutated(71) {
                return Ok(at);
            }
            for piece in bytes.pieces() {
                self.hasher.update(piece);
                (self.out.write)(piece)?;
            }
        }
        Ok(chunks.end)
    }
}

fn digest(frames: &Frames) -> Digest {
    let mut hasher = Hasher::new();
    frames.pieces().for_each(|piece| hasher.update(piece));
    hasher.finish()
}

impl Store {
    /// Gives the bytes of a file to `out`, in order; what is wrong is read twice anew from the store itself.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a chunk is missing or wrong in two fresh reads; what `out` got until then is right.
    pub(crate) async fn read_in_chunks(&self, source: Source, file: &InChunks, out: Out) -> Result<(), StoreError> {
        let mut left = file.ranges();
        let mut ahead: VecDeque<(Range<usize>, Ahead<Fetched>)> = VecDeque::new();
        let mut hand = Hand { hasher: Hasher::new(), out };
        loop {
            while ahead.len() < AHEAD && !left.is_empty() {
                let Some(room) = self.lanes.down(!ahead.is_empty()).await else { break };
                let Some(range) = left.pop_front() else { break };
                let (store, file, chunks) = (self.clone(), file.clone(), range.clone());
                let fetch = async move { Ok((store.fetch(source, &file, chunks).await?, room)) };
                ahead.push_back((range, Ahead::begin(fetch)));
            }
            let Some((range, fetched)) = ahead.pop_front() else { break };
            let (frames, _room) = fetched.end().await?;
            let (mut at, first) = (range.start, file.chunks[range.start].1.place.offset);
            while at < range.end {
                let from = usize::try_from(file.chunks[at].1.place.offset - first).unwrap_or(usize::MAX);
                let mut rest = frames.clone();
                drop(rest.split_to(from));
                (hand, at) = self.hand_on(hand, file, at..range.end, rest).await?;
                if at < range.end {
                    let anew = self.fetch_anew(file, at).await?;
                    (hand, at) = self.hand_on(hand, file, at..at + 1, anew).await?;
                }
            }
        }
        match hand.hasher.finish() == file.digest {
            true => Ok(()),
            false => {
                let object = file.chunks.first().map_or("", |(object, _)| object);
                Err(file.damaged(object, "its chunks are whole, and together they are another file"))
            }
        }
    }

    async fn hand_on(
        &self,
        mut hand: Hand,
        file: &InChunks,
        chunks: Range<usize>,
        frames: Frames,
    ) -> Result<(Hand, usize), StoreError> {
        let of = file.clone();
        let handed = blocking(move || {
            let handed = hand.on(&of, chunks, frames);
            (hand, handed)
        });
        let (hand, handed) = handed.await;
        let at = handed.map_err(StoreError::io(&hand.out.about))?;
        Ok((hand, at))
    }

    /// Fetches neighbouring chunks; fewer bytes if their object is shorter or absent.
    pub(crate) async fn fetch(
        &self,
        source: Source,
        file: &InChunks,
        chunks: Range<usize>,
    ) -> Result<Frames, StoreError> {
        let (object, offset, size) = file.stretch(chunks);
        match source {
            Source::Nearest => match self.open(source, object).await {
                Ok((key, reader)) => {
                    let read = blocking(move || reader.stretch(offset, size)).await;
                    read.map(Frames::from).map_err(StoreError::io(key.as_str()))
                }
                Err(StoreError::Damaged { .. }) => Ok(Frames::default()),
                Err(error) => Err(error),
            },
            Source::Passing => Ok(self.range(object, offset, size, Freshness::CopyWillDo).await?.unwrap_or_default()),
            Source::Store => Ok(self.range(object, offset, size, Freshness::Fresh).await?.unwrap_or_default()),
        }
    }

    /// Reads a chunk twice from the store itself before it is called damaged.
    async fn fetch_anew(&self, file: &InChunks, at: usize) -> Result<Frames, StoreError> {
        let (object, chunk) = &file.chunks[at];
        let size = usize::try_from(chunk.size_bytes).unwrap_or(usize::MAX);
        let mut problem = String::new();
        for _ in 0..2 {
            problem = match self.range(object, chunk.place.offset, size, Freshness::Fresh).await? {
                Ok(frames) if frames.len() != size => format!("it ends {} bytes too early", size - frames.len()),
                Ok(frames) => {
                    let digest = digest(&frames);
                    if digest == chunk.digest {
                        return Ok(frames);
                    }
                    format!("its bytes are {}, {} was recorded", digest.short(), chunk.digest.short())
                }
                Err(problem) => problem,
            };
        }
        Err(file.damaged(object, &problem))
    }

    /// Reads a stretch of an object; its absence, or damage that the backend is sure of, is a value.
    pub(crate) async fn range(
        &self,
        object: &str,
        offset: u64,
        size: usize,
        freshness: Freshness,
    ) -> Result<Result<Frames, String>, StoreError> {
        let Ok(key) = ObjectKey::new(object) else { return Ok(Err("the record names no object".to_owned())) };
        match self.objects.read_range(&key, offset, size, freshness).await {
            Ok(Some(frames)) => Ok(Ok(frames)),
            Ok(None) => Ok(Err("it is missing".to_owned())),
            Err(ObjectsError::Corrupt { what, .. }) => Ok(Err(what)),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the manifest's only file, read as one that lies in chunks.
    pub(crate) async fn single_in_chunks(&self, stored: &StoredArtifact) -> Result<InChunks, StoreError> {
        let manifest = self.manifest(stored).await?;
        Ok(InChunks::of(&manifest, 0).expect("a manifest of a file has chunks"))
    }

    /// Gives the bytes of a single file to `out`, each verified before; what is damaged ends it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if bytes are missing or wrong in two fresh reads.
    pub async fn read_out(
        &self,
        stored: &StoredArtifact,
        out: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> Result<(), StoreError> {
        let file = self.single_in_chunks(stored).await?;
        self.read_in_chunks(Source::Passing, &file, Out::new(stored.object.as_str(), out)).await
    }

    /// Opens a file in chunks; it is to be read where blocking is allowed, since the store is asked meanwhile.
    pub(crate) fn open_in_chunks(&self, file: InChunks) -> ObjectReader {
        let mut end = 0;
        let ends = file.chunks.iter().map(|(_, chunk)| {
            end += chunk.size_bytes;
            end
        });
        let ends: Vec<u64> = ends.collect();
        let reader = Reader { store: self.clone(), runtime: Handle::current(), file, ends, at: 0, here: None };
        ObjectReader::new(Box::new(reader), end)
    }
}

/// Reads a file in chunks for those who read and wait.
struct Reader {
    store: Store,
    runtime: Handle,
    file: InChunks,
    /// Where each chunk ends in the file.
    ends: Vec<u64>,
    at: u64,
    /// The chunk that was read last.
    here: Option<(usize, Bytes)>,
}

impl Reader {
    fn chunk(&mut self, number: usize) -> io::Result<Bytes> {
        if let Some((at, bytes)) = &self.here
            && *at == number
        {
            return Ok(bytes.clone());
        }
        let (store, file) = (&self.store, &self.file);
        let fetched = self.runtime.block_on(async {
            let frames = store.fetch(Source::Nearest, file, number..number + 1).await?;
            match digest(&frames) == file.chunks[number].1.digest {
                true => Ok(frames),
                false => store.fetch_anew(file, number).await,
            }
        });
        let bytes = fetched.map_err(|error: StoreError| io::Error::other(error))?.into_bytes();
        self.here = Some((number, bytes.clone()));
        Ok(bytes)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let number = self.ends.partition_point(|end| *end <= self.at);
        let Some(end) = self.ends.get(number).copied() else { return Ok(0) };
        let bytes = self.chunk(number)?;
        let rest = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(bytes.len());
        let n = rest.min(buffer.len());
        buffer[..n].copy_from_slice(&bytes[bytes.len() - rest..][..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, self.ends.last().copied().unwrap_or(0))?;
        Ok(self.at)
    }
}
