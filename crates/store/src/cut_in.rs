//! Taking large files in as chunks: what is new is gathered in objects, which are sent while the next are being filled.

use std::{
    collections::HashMap,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use prunella_model::{Digest, Hasher};
use prunella_objects::ObjectKey;
use prunella_sys::{Fs, FsRead, Phases, blocking};
use tokio::task::JoinSet;

use crate::{
    Store, StoreError,
    bring_in::Notes,
    chunk::{MOST, OBJECT_BYTES, first},
    records::{Chunk, Place},
    take_in::For,
    take_tree::changed,
    there::{Stretch, There},
    transfers::Transfers,
};

/// A large file to be taken in.
#[derive(Debug, Clone)]
pub(crate) struct ToCut {
    /// Its position among the entries.
    pub at: u32,
    pub path: PathBuf,
    /// How long it was when it was found.
    pub size: u64,
}

/// A large file that was taken in.
pub(crate) struct Cut {
    pub at: u32,
    pub digest: Digest,
    pub chunks: Vec<Chunk>,
}

/// The table of objects of a manifest that is being made, and where bytes lie in them; shared by all who fill it.
pub(crate) struct Table(Mutex<Filled>);

struct Filled {
    objects: Vec<String>,
    /// What may be relied on; its places are in a table of its own.
    there: There,
    /// The numbers here of the objects of that table.
    numbers: Vec<Option<u32>>,
    /// Chunks that were new.
    new: HashMap<Digest, Place>,
}

impl Table {
    pub(crate) fn new(there: There) -> Self {
        let numbers = vec![None; there.objects.len()];
        Self(Mutex::new(Filled { objects: Vec::new(), there, numbers, new: HashMap::new() }))
    }

    /// Returns where the bytes with this digest lie already.
    pub(crate) fn place(&self, digest: &Digest) -> Option<Place> {
        self.filled().place(digest)
    }

    /// Returns the chunks of the large file with this digest, if it is there already.
    pub(crate) fn file(&self, digest: &Digest) -> Option<Vec<Chunk>> {
        let mut filled = self.filled();
        let chunks = filled.there.files.get(digest)?.clone();
        Some(chunks.into_iter().map(|chunk| Chunk { place: filled.here(chunk.place), ..chunk }).collect())
    }

    /// Adds an object and returns its number.
    pub(crate) fn push(&self, object: &ObjectKey) -> u32 {
        self.filled().push(object.to_string())
    }

    /// Returns all objects.
    pub(crate) fn into_objects(self) -> Vec<String> {
        self.0.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).objects
    }

    fn filled(&self) -> std::sync::MutexGuard<'_, Filled> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Filled {
    fn push(&mut self, object: String) -> u32 {
        self.objects.push(object);
        u32::try_from(self.objects.len() - 1).expect("there are fewer objects than files and chunks")
    }

    fn place(&mut self, digest: &Digest) -> Option<Place> {
        if let Some(new) = self.new.get(digest) {
            return Some(*new);
        }
        let there = *self.there.places.get(digest)?;
        Some(self.here(there))
    }

    /// Returns a place of what is there in this table; its object enters it when it is first needed.
    fn here(&mut self, Place { object, offset }: Place) -> Place {
        let at = object as usize;
        let number = match self.numbers[at] {
            Some(number) => number,
            None => {
                let number = self.push(self.there.objects[at].clone());
                self.numbers[at] = Some(number);
                number
            }
        };
        Place { object: number, offset }
    }
}

impl Store {
    /// Takes large files in, in order; answers their digests and chunks once all that is new is in the store.
    pub(crate) async fn cut_in(
        &self,
        owner: &For,
        files: Vec<ToCut>,
        table: &Arc<Table>,
        notes: &Arc<Option<Notes>>,
    ) -> Result<Vec<Cut>, StoreError> {
        let mut cutter = Cutter::new(self.sys.fs.clone(), files, table.clone(), self.transfers.clone());
        let mut sent = JoinSet::new();
        let filled = loop {
            let room = self.lanes.up().await;
            let name = self.object_name(owner);
            let (back, full) = blocking(move || {
                let full = cutter.fill(&name);
                (cutter, full)
            })
            .await;
            cutter = back;
            match full {
                Err(error) => break Err(error),
                Ok(None) => break Ok(()),
                Ok(Some(Full { object, bytes, stretches })) => {
                    let (store, notes, keep) = (self.clone(), notes.clone(), matches!(owner, For::Attempt(_)));
                    sent.spawn(Phases::here().during(async move {
                        let sent = store.send(&object, bytes, keep).await;
                        drop(room);
                        if sent.is_ok() {
                            store.transfers.sending().done(stretches.iter().map(|(.., size)| size).sum());
                            if let Some(notes) = &*notes {
                                notes.add(&object, &stretches);
                            }
                        }
                        sent
                    }));
                }
            }
            let failed = std::iter::from_fn(|| sent.try_join_next()).find_map(|sent| ended(sent).err());
            if let Some(error) = failed {
                break Err(error);
            }
        };
        // Whoever is told of an error finds nobody at work.
        let mut outcome = filled;
        while let Some(sent) = sent.join_next().await {
            outcome = outcome.and(ended(sent));
        }
        outcome.map(|()| cutter.done)
    }

    /// Creates an object that is larger than a record.
    pub(crate) async fn send(&self, object: &ObjectKey, bytes: Bytes, keep: bool) -> Result<(), StoreError> {
        let _fresh_name = match keep {
            true => self.put_and_keep(object, bytes).await?,
            false => self.put(object, bytes).await?,
        };
        Ok(())
    }
}

fn ended(sent: Result<Result<(), StoreError>, tokio::task::JoinError>) -> Result<(), StoreError> {
    sent.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// An object that is full.
struct Full {
    object: ObjectKey,
    bytes: Bytes,
    stretches: Vec<Stretch>,
}

/// Cuts files one after the other.
struct Cutter {
    fs: Arc<dyn Fs>,
    left: std::vec::IntoIter<ToCut>,
    table: Arc<Table>,
    transfers: Arc<Transfers>,
    open: Option<Open>,
    window: Window,
    done: Vec<Cut>,
}

/// The file that is being cut.
struct Open {
    of: ToCut,
    file: Box<dyn FsRead>,
    hasher: Hasher,
    chunks: Vec<Chunk>,
    /// The chunk at the beginning of the window, if it had no room.
    waiting: Option<(usize, Digest)>,
}

impl Cutter {
    fn new(fs: Arc<dyn Fs>, files: Vec<ToCut>, table: Arc<Table>, transfers: Arc<Transfers>) -> Self {
        Self { fs, left: files.into_iter(), table, transfers, open: None, window: Window::new(), done: Vec::new() }
    }

    /// Goes on until there is an object's worth of new bytes, which becomes `object`; nothing once all files are cut.
    fn fill(&mut self, object: &ObjectKey) -> Result<Option<Full>, StoreError> {
        let (mut bytes, mut stretches, mut number) = (Vec::new(), Vec::new(), None);
        'files: loop {
            let open = match &mut self.open {
                Some(open) => open,
                None => {
                    let Some(of) = self.left.next() else { break };
                    let file = self.fs.open_read(&of.path).map_err(StoreError::io(&of.path))?;
                    self.window.begin(of.size);
                    self.open.insert(Open { of, file, hasher: Hasher::new(), chunks: Vec::new(), waiting: None })
                }
            };
            while let Some((len, digest)) = match open.waiting.take() {
                Some(waiting) => Some(waiting),
                None => self.window.cut(&mut *open.file, &open.of.path)?.map(|len| {
                    let chunk = &self.window.bytes()[..len];
                    open.hasher.update(chunk);
                    (len, Digest::of(chunk))
                }),
            } {
                let mut filled = self.table.filled();
                let place = match filled.place(&digest) {
                    Some(place) => {
                        self.transfers.sending().done(len as u64);
                        place
                    }
                    None if bytes.len() + len > OBJECT_BYTES => {
                        open.waiting = Some((len, digest));
                        break 'files;
                    }
                    None => {
                        let number = *number.get_or_insert_with(|| filled.push(object.to_string()));
                        let place = Place { object: number, offset: bytes.len() as u64 };
                        filled.new.insert(digest, place);
                        drop(filled);
                        if bytes.capacity() == 0 {
                            bytes.reserve_exact(OBJECT_BYTES);
                        }
                        bytes.extend_from_slice(&self.window.bytes()[..len]);
                        stretches.push((digest, place.offset, len as u64));
                        place
                    }
                };
                open.chunks.push(Chunk { digest, size_bytes: len as u64, place });
                self.window.pass(len);
            }
            let Open { of, hasher, chunks, .. } = self.open.take().expect("it was open just now");
            self.done.push(Cut { at: of.at, digest: hasher.finish(), chunks });
        }
        Ok((!bytes.is_empty()).then(|| Full { object: object.clone(), bytes: bytes.into(), stretches }))
    }
}

/// What of a file is in memory: as much as the longest chunk, and more to read few times.
struct Window {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// What is left to read.
    left: u64,
}

impl Window {
    fn new() -> Self {
        Self { buffer: vec![0; 2 * MOST], from: 0, to: 0, left: 0 }
    }

    fn begin(&mut self, size: u64) {
        (self.from, self.to, self.left) = (0, 0, size);
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    fn pass(&mut self, len: usize) {
        self.from += len;
    }

    /// Returns how long the next chunk is; nothing at the end of the file, which must be as long as it was found.
    fn cut(&mut self, file: &mut dyn Read, path: &Path) -> Result<Option<usize>, StoreError> {
        if self.bytes().len() < MOST && self.left > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
            while self.left > 0 && self.to < self.buffer.len() {
                let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.buffer.len() - self.to);
                match file.read(&mut self.buffer[self.to..self.to + most]).map_err(StoreError::io(path))? {
                    0 => return Err(changed(path)),
                    n => {
                        self.to += n;
                        self.left -= n as u64;
                    }
                }
            }
            // One byte more than there should be.
            if self.left == 0 && file.read(&mut [0]).map_err(StoreError::io(path))? != 0 {
                return Err(changed(path));
            }
        }
        Ok(first(self.bytes(), self.left == 0))
    }
}
