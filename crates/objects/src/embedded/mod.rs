//! The store in one directory: records and small objects in SQLite, large ones as files.
//!
//! ```text
//! prunella.json        format version and store id
//! store.db             SQLite: one row an object, with its bytes or the name of its file
//! data/<aa>/<name>     the bytes of large objects, mode 0444
//! ```

mod database;
mod durable;
mod files;
pub(crate) mod layout;
mod lock;
mod readers;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use prunella_sys::{Sys, blocking};

use self::database::Database;
use self::durable::Durable;
use self::files::{Files, Staged, Taken};
use self::readers::Readers;
use self::writer::{Change, Changed, Content, Writer};
use crate::error::ObjectsError;
use crate::key::ObjectKey;
use crate::memory::refuse_large_hint;
use crate::objects::{Created, CreatedFile, Listed, MAX_GET_BYTES, ObjectReader, Objects, Op, SMALL_BYTES, TakeIn};

/// The store in one directory. Several handles and processes may use one at the same time.
///
/// Dropping the last handle waits until what was queued is written.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    // Dropped before the writer: the last connection to close must be able to write, so that no log is left behind.
    readers: Readers,
    writer: Option<Writer>,
    files: Files,
    durable: Durable,
    info: Info,
}

/// What an embedded store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its directory.
    pub dir: PathBuf,
    /// The random id given to it when it was made.
    pub store_id: String,
    /// Its format version.
    pub format: u32,
    /// Whether it was opened for reading only.
    pub read_only: bool,
}

impl Embedded {
    /// Opens the store in `dir` and creates it on first use, also when several processes do so at once.
    ///
    /// # Errors
    /// [`ObjectsError::ReadOnly`] and [`ObjectsError::NoSpace`] if it cannot be written: [`Embedded::open_read_only`] may
    /// work then. [`ObjectsError::NewerFormat`] if a newer program made it.
    pub fn open(sys: &Sys, dir: &Path) -> Result<Self, ObjectsError> {
        Self::open_split(sys, dir, dir, None)
    }

    /// Opens a store whose database lies in another directory or is limited to some pages of 4 KiB, for tests.
    #[doc(hidden)]
    pub fn open_split(
        sys: &Sys,
        dir: &Path,
        database_dir: &Path,
        max_pages: Option<u32>,
    ) -> Result<Self, ObjectsError> {
        let record = layout::create(sys, dir, layout::EMBEDDED)?;
        let database =
            Database { sys: sys.clone(), dir: dir.to_owned(), database_dir: database_dir.to_owned(), max_pages };
        let connection = database.open_writer()?;
        let readers = Readers::open(database.clone(), false)?;
        let durable = Durable::of(&database);
        let writer = Writer::start(database, connection)?;
        Ok(Self::new(sys, dir, record, readers, durable, Some(writer)))
    }

    /// Opens the store in `dir` for reading; every write is answered with [`ObjectsError::ReadOnly`].
    ///
    /// # Errors
    /// [`ObjectsError::NoStore`] if there is none.
    pub fn open_read_only(sys: &Sys, dir: &Path) -> Result<Self, ObjectsError> {
        let record =
            layout::read(sys, dir, layout::EMBEDDED)?.ok_or_else(|| ObjectsError::NoStore { path: dir.to_owned() })?;
        let database =
            Database { sys: sys.clone(), dir: dir.to_owned(), database_dir: dir.to_owned(), max_pages: None };
        let durable = Durable::of(&database);
        let readers = Readers::open(database, true)?;
        Ok(Self::new(sys, dir, record, readers, durable, None))
    }

    fn new(
        sys: &Sys,
        dir: &Path,
        record: layout::FormatRecord,
        readers: Readers,
        durable: Durable,
        writer: Option<Writer>,
    ) -> Self {
        let info =
            Info { dir: dir.to_owned(), store_id: record.store_id, format: record.format, read_only: writer.is_none() };
        Embedded {
            inner: Arc::new(Inner { readers, writer, files: Files::new(sys.clone(), dir.to_owned()), durable, info }),
        }
    }

    /// Returns what the store says of itself.
    pub fn info(&self) -> &Info {
        &self.inner.info
    }

    /// Carries out a transaction that [`prunella_sys::Fs::transaction`] noted, to rebuild a database after a simulated crash.
    #[doc(hidden)]
    pub async fn replay(&self, transaction: &[u8]) -> Result<(), ObjectsError> {
        self.write(writer::changes_of(transaction)?).await.map(|_| ())
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Vec<Changed>, ObjectsError> {
        match &self.inner.writer {
            Some(writer) => writer.write(changes).await,
            None => Err(ObjectsError::ReadOnly { path: self.inner.info.dir.clone() }),
        }
    }

    async fn write_one(&self, change: Change) -> Result<Changed, ObjectsError> {
        let mut outcomes = self.write(vec![change]).await?;
        Ok(outcomes.pop().expect("every change has an outcome"))
    }

    fn refuse_read_only(&self) -> Result<(), ObjectsError> {
        match self.inner.writer {
            Some(_) => Ok(()),
            None => Err(ObjectsError::ReadOnly { path: self.inner.info.dir.clone() }),
        }
    }

    /// Runs file work of this store off the async threads.
    async fn with_files<T: Send + 'static>(&self, work: impl FnOnce(&Files) -> T + Send + 'static) -> T {
        let files = self.inner.files.clone();
        blocking(move || work(&files)).await
    }

    /// Gives a staged file its row, or takes it back.
    async fn name_staged(&self, key: &ObjectKey, staged: Staged) -> Result<Option<Content>, ObjectsError> {
        let change = Change::CreateFile { key: key.clone(), file: staged.name.clone(), size: staged.size };
        match self.write_one(change).await {
            Ok(Changed::There(content)) => {
                self.with_files(move |files| files.discard(&staged)).await;
                Ok(Some(content))
            }
            Ok(_) => self.with_files(move |files| files.finish(&staged)).await.map(|()| None),
            // The row may stand: then the file must stay.
            Err(error @ ObjectsError::Undecided { .. }) => Err(error),
            Err(error) => {
                self.with_files(move |files| files.discard(&staged)).await;
                Err(error)
            }
        }
    }

    /// Returns the bytes of found content; `None` if the object was deleted meanwhile.
    async fn load(&self, key: &ObjectKey, content: Content) -> Result<Option<Bytes>, ObjectsError> {
        let (name, size) = match content {
            Content::Bytes(bytes) => return Ok(Some(bytes)),
            Content::File { name, size } => (name, size),
        };
        if size > MAX_GET_BYTES {
            return Err(ObjectsError::TooLarge { key: key.clone(), size_bytes: size, limit_bytes: MAX_GET_BYTES });
        }
        let file = name.clone();
        match self.with_files(move |files| files.read(&file)).await? {
            Some(bytes) if bytes.len() as u64 == size => Ok(Some(bytes)),
            Some(bytes) => Err(self.damaged(key, &name, format!("it has {} bytes instead of {size}", bytes.len()))),
            None => self.missing(key, &name).map(|()| None),
        }
    }

    /// Tells a deleted object, which is fine, from a lost file.
    fn missing(&self, key: &ObjectKey, name: &str) -> Result<(), ObjectsError> {
        match self.inner.readers.find(key)? {
            Some(Content::File { name: still, .. }) if still == name => {
                Err(self.damaged(key, name, "the file is missing".into()))
            }
            _ => Ok(()),
        }
    }

    fn damaged(&self, key: &ObjectKey, name: &str, what: String) -> ObjectsError {
        ObjectsError::Corrupt { key: Some(key.clone()), path: self.inner.files.path(name), what }
    }

    async fn created(&self, key: &ObjectKey, there: Content) -> Result<Created, ObjectsError> {
        match self.load(key, there).await? {
            Some(bytes) => Ok(Created::There(bytes)),
            None => Err(ObjectsError::Busy { path: self.inner.info.dir.clone() }),
        }
    }

    /// Returns the changes of a batch; its large objects are durable files then, listed in `staged` by their place.
    async fn changes_of(&self, ops: &[Op], staged: &mut Vec<(usize, Staged)>) -> Result<Vec<Change>, ObjectsError> {
        let mut changes = Vec::with_capacity(ops.len());
        for (index, op) in ops.iter().enumerate() {
            changes.push(match op {
                Op::Overwrite { key, bytes } => {
                    refuse_large_hint(key, bytes)?;
                    Change::Overwrite { key: key.clone(), bytes: bytes.clone() }
                }
                Op::Create { key, bytes } if bytes.len() <= SMALL_BYTES => {
                    Change::Create { key: key.clone(), bytes: bytes.clone() }
                }
                Op::Create { key, bytes } => {
                    let file = self.stage(key, bytes).await?;
                    let change = Change::CreateFile { key: key.clone(), file: file.name.clone(), size: file.size };
                    staged.push((index, file));
                    change
                }
            });
        }
        Ok(changes)
    }

    /// Makes a large object's bytes a durable file.
    async fn stage(&self, key: &ObjectKey, bytes: &Bytes) -> Result<Staged, ObjectsError> {
        let (key, bytes) = (key.clone(), bytes.clone());
        self.with_files(move |files| files.stage_bytes(&key, &bytes)).await
    }
}

#[async_trait]
impl Objects for Embedded {
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        self.refuse_read_only()?;
        let there = if bytes.len() <= SMALL_BYTES {
            match self.write_one(Change::Create { key: key.clone(), bytes }).await? {
                Changed::There(there) => Some(there),
                _ => None,
            }
        } else if let Some(there) = self.inner.readers.find(key)? {
            Some(there)
        } else {
            let staged = self.stage(key, &bytes).await?;
            self.name_staged(key, staged).await?
        };
        match there {
            None => Ok(Created::New),
            Some(there) => self.created(key, there).await,
        }
    }

    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        refuse_large_hint(key, &bytes)?;
        self.write_one(Change::Overwrite { key: key.clone(), bytes }).await.map(|_| ())
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        match self.inner.readers.find(key)? {
            Some(content) => self.load(key, content).await,
            None => Ok(None),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        self.inner.readers.list(prefix, after, limit)
    }

    async fn examine(&self) -> Result<Vec<String>, ObjectsError> {
        self.inner.readers.examine()
    }

    async fn see_keys(&self, prefix: &str, see: &mut (dyn for<'k> FnMut(&'k str) + Send)) -> Result<(), ObjectsError> {
        self.inner.readers.see_keys(prefix, see)
    }

    async fn read_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<(ObjectKey, Bytes)>, ObjectsError> {
        let mut found = Vec::new();
        for (key, content) in self.inner.readers.read_prefix(prefix, limit)? {
            if let Some(bytes) = self.load(&key, content).await? {
                found.push((key, bytes));
            }
        }
        Ok(found)
    }

    async fn read_prefixes(&self, prefixes: &[String]) -> Result<Vec<Vec<(ObjectKey, Bytes)>>, ObjectsError> {
        let mut found = Vec::with_capacity(prefixes.len());
        for contents in self.inner.readers.read_prefixes(prefixes)? {
            let mut records = Vec::with_capacity(contents.len());
            for (key, content) in contents {
                if let Some(bytes) = self.load(&key, content).await? {
                    records.push((key, bytes));
                }
            }
            found.push(records);
        }
        Ok(found)
    }

    async fn list_prefixes(&self, prefixes: &[String]) -> Result<Vec<Vec<Listed>>, ObjectsError> {
        self.inner.readers.list_prefixes(prefixes)
    }

    async fn read_listed(&self, keys: &[ObjectKey]) -> Result<Vec<Option<Bytes>>, ObjectsError> {
        let mut found = Vec::with_capacity(keys.len());
        for (key, content) in keys.iter().zip(self.inner.readers.find_all(keys)?) {
            found.push(match content {
                Some(content) => self.load(key, content).await?,
                None => None,
            });
        }
        Ok(found)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        match self.write_one(Change::Delete { key: key.clone() }).await? {
            Changed::Deleted(Some(name)) => {
                // Else a loss of power could bring the row back, and not the file.
                self.sync().await?;
                self.with_files(move |files| files.remove(&name)).await;
                Ok(true)
            }
            Changed::Deleted(None) => Ok(true),
            _ => Ok(false),
        }
    }

    async fn sync(&self) -> Result<(), ObjectsError> {
        let inner = self.inner.clone();
        blocking(move || inner.durable.sync()).await
    }

    async fn batch(&self, ops: Vec<Op>) -> Result<Vec<Created>, ObjectsError> {
        self.refuse_read_only()?;
        let mut staged = Vec::new();
        let outcomes = match self.changes_of(&ops, &mut staged).await {
            Ok(changes) => self.write(changes).await,
            Err(error) => Err(error),
        };
        let waste: Vec<Staged> = match &outcomes {
            Ok(outcomes) => staged.into_iter().filter(|(at, _)| matches!(outcomes[*at], Changed::There(_))).collect(),
            // Rows of the first ones may stand: then their files must stay.
            Err(ObjectsError::Undecided { .. } | ObjectsError::Immutable { .. }) => Vec::new(),
            Err(_) => staged,
        }
        .into_iter()
        .map(|(_, file)| file)
        .collect();
        if !waste.is_empty() {
            self.with_files(move |files| waste.iter().for_each(|file| files.discard(file))).await;
        }
        let outcomes = outcomes?;
        let mut created = Vec::with_capacity(ops.len());
        for (op, outcome) in ops.iter().zip(outcomes) {
            created.push(match (op, outcome) {
                (Op::Create { key, .. }, Changed::There(there)) => self.created(key, there).await?,
                _ => Created::New,
            });
        }
        Ok(created)
    }

    async fn create_and_look(
        &self,
        key: &ObjectKey,
        bytes: Bytes,
        prefix: &str,
    ) -> Result<(Created, Vec<(ObjectKey, Bytes)>), ObjectsError> {
        self.refuse_read_only()?;
        if bytes.len() > SMALL_BYTES {
            let created = self.create(key, bytes).await?;
            return Ok((created, self.read_prefix(prefix, usize::MAX).await?));
        }
        // One transaction: the look sees the very state that the create made, and costs no reader of its own.
        let changes = vec![
            Change::Create { key: key.clone(), bytes },
            Change::Look { key: key.clone(), prefix: prefix.to_owned() },
        ];
        let mut outcomes = self.write(changes).await?.into_iter();
        let created = match outcomes.next() {
            Some(Changed::There(there)) => self.created(key, there).await?,
            _ => Created::New,
        };
        let mut found = Vec::new();
        if let Some(Changed::Seen(seen)) = outcomes.next() {
            for (text, content) in seen {
                let seen = self.inner.readers.key(&text)?;
                if let Some(bytes) = self.load(&seen, content).await? {
                    found.push((seen, bytes));
                }
            }
        }
        Ok((created, found))
    }

    async fn create_from_file(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<CreatedFile, ObjectsError> {
        self.refuse_read_only()?;
        let size_of = |content: &Content| match content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File { size, .. } => *size,
        };
        if let Some(there) = self.inner.readers.find(key)? {
            return Ok(CreatedFile::There { size_bytes: size_of(&there) });
        }
        let (path, owned) = (source.to_owned(), key.clone());
        let taken = self.with_files(move |files| files.take_in(&owned, &path, how)).await?;
        let (there, size_bytes) = match taken {
            Taken::Small(bytes) => {
                let size = bytes.len() as u64;
                let path = source.to_owned();
                match self.write_one(Change::Create { key: key.clone(), bytes }).await? {
                    Changed::There(there) => (Some(there), size),
                    _ => {
                        if matches!(how, TakeIn::Move { .. }) {
                            self.with_files(move |files| files.remove_source(&path)).await?;
                        }
                        (None, size)
                    }
                }
            }
            Taken::Large(staged) => {
                let size = staged.size;
                (self.name_staged(key, staged).await?, size)
            }
        };
        Ok(match there {
            Some(there) => CreatedFile::There { size_bytes: size_of(&there) },
            None => CreatedFile::New { size_bytes },
        })
    }

    async fn local_path(&self, key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError> {
        Ok(match self.inner.readers.find(key)? {
            Some(Content::File { name, .. }) => Some(self.inner.files.path(&name)),
            _ => None,
        })
    }

    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        match self.inner.readers.find(key)? {
            None => Ok(None),
            Some(Content::Bytes(bytes)) => Ok(Some(ObjectReader::from_bytes(bytes))),
            Some(Content::File { name, size }) => {
                let file = name.clone();
                match self.with_files(move |files| files.open(&file)).await? {
                    Some(reader) if reader.size() == size => Ok(Some(reader)),
                    Some(reader) => {
                        Err(self.damaged(key, &name, format!("it has {} bytes instead of {size}", reader.size())))
                    }
                    None => self.missing(key, &name).map(|()| None),
                }
            }
        }
    }

    fn store_id(&self) -> &str {
        &self.inner.info.store_id
    }
}
