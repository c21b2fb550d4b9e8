//! The store in a plain directory: every object is a file, and nothing else is needed.
//!
//! ```text
//! prunella.json        format version and store id
//! objects/a,/b         the bytes of the object `a/b`, mode 0444
//! objects/a,/c,hint    the bytes of the hint `a/c`
//! tmp/                 files on their way, each named after its owner
//! ```
//!
//! A create is a file under a name of its own, synced, which then gets its place by link(2): of many at once one succeeds. What
//! was answered is durable.

mod files;
mod filesystem;
mod meeting;
mod names;
mod parts;
mod probe;
mod walk;

use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use prunella_sys::{Sys, blocking};

pub use self::filesystem::FileSystem;
pub use self::meeting::{Meeting, meet};
pub use self::probe::check;

use self::files::Files;
use self::names::Sort;
use self::walk::Wanted;
use crate::embedded::layout::{self, DIRECTORY, FormatRecord, io_error};
use crate::error::ObjectsError;
use crate::key::ObjectKey;
use crate::memory::refuse_large_hint;
use crate::objects::{Created, CreatedFile, Listed, ObjectReader, Objects, TakeIn};

/// A store in a plain directory. Several handles and processes may use one at the same time.
#[derive(Clone)]
pub struct Directory {
    inner: Arc<Files>,
}

/// How often a create is made again that was told of something and found nothing.
const LOOKS: usize = 4;

impl Directory {
    /// Opens the store in `dir` and creates it on first use, also when several processes do so at once.
    ///
    /// `met` is the folder where this machine notes which directories of other machines were found fit ([`meet`]).
    ///
    /// # Errors
    /// [`ObjectsError::ReadOnly`], [`ObjectsError::NoSpace`], [`ObjectsError::NewerFormat`]; [`ObjectsError::Unfit`] if another
    /// kind of store is there, or if the directory is another machine's and was not found fit from here.
    pub fn open(sys: &Sys, dir: &Path, met: &Path) -> Result<Self, ObjectsError> {
        meeting::is_fit(sys, dir, met)?;
        Self::open_anywhere(sys, dir)
    }

    /// Opens a store wherever it lies: to find out whether one may be there.
    fn open_anywhere(sys: &Sys, dir: &Path) -> Result<Self, ObjectsError> {
        let record = layout::create(sys, dir, DIRECTORY)?;
        for folder in ["objects", "tmp"] {
            let path = dir.join(folder);
            sys.fs.create_dir(&path).map_err(|error| io_error(dir, &path, error))?;
        }
        // Also if they existed: whoever made them may not have come so far.
        sys.fs.sync_dir(dir).map_err(|error| io_error(dir, dir, error))?;
        let opened = Self::new(sys, dir, record, false);
        opened.inner.parts.clean();
        Ok(opened)
    }

    /// Opens the store in `dir` for reading; every write is answered with [`ObjectsError::ReadOnly`].
    ///
    /// # Errors
    /// [`ObjectsError::NoStore`] if there is none.
    pub fn open_read_only(sys: &Sys, dir: &Path) -> Result<Self, ObjectsError> {
        let record =
            layout::read(sys, dir, DIRECTORY)?.ok_or_else(|| ObjectsError::NoStore { path: dir.to_owned() })?;
        Ok(Self::new(sys, dir, record, true))
    }

    fn new(sys: &Sys, dir: &Path, record: FormatRecord, read_only: bool) -> Self {
        Self { inner: Arc::new(Files::new(sys, dir, record.store_id, read_only)) }
    }

    /// Does file work of this store off the async threads.
    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&Files) -> T + Send + 'static) -> T {
        let inner = self.inner.clone();
        blocking(move || work(&inner)).await
    }

    fn refuse_read_only(&self) -> Result<(), ObjectsError> {
        if self.inner.read_only { Err(ObjectsError::ReadOnly { path: self.inner.dir.clone() }) } else { Ok(()) }
    }
}

#[async_trait]
impl Objects for Directory {
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        self.refuse_read_only()?;
        for _ in 0..LOOKS {
            let (owned, content) = (key.clone(), bytes.clone());
            let (new, there) = self
                .with(move |inner| match inner.create(&owned, &content)? {
                    true => Ok((true, None)),
                    false => inner.get(&owned).map(|there| (false, there)),
                })
                .await?;
            match (new, there) {
                (true, _) => return Ok(Created::New),
                (false, Some(there)) => return Ok(Created::There(there)),
                // It was deleted meanwhile.
                (false, None) => {}
            }
        }
        Err(ObjectsError::Busy { path: self.inner.dir.clone() })
    }

    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        refuse_large_hint(key, &bytes)?;
        self.refuse_read_only()?;
        let key = key.clone();
        self.with(move |inner| inner.overwrite(&key, &bytes)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        let key = key.clone();
        self.with(move |inner| inner.get(&key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.with(move |inner| inner.list(&Wanted { prefix: &prefix, after: after.as_deref() }, limit)).await
    }

    async fn read_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<(ObjectKey, Bytes)>, ObjectsError> {
        let prefix = prefix.to_owned();
        self.with(move |inner| {
            let listed = inner.list(&Wanted { prefix: &prefix, after: None }, limit)?;
            let read = listed.into_iter().map(|listed| Ok(inner.get(&listed.key)?.map(|bytes| (listed.key, bytes))));
            read.filter_map(Result::transpose).collect()
        })
        .await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        self.refuse_read_only()?;
        let key = key.clone();
        self.with(move |inner| inner.delete(&key)).await
    }

    async fn sync(&self) -> Result<(), ObjectsError> {
        if self.inner.read_only {
            return Ok(());
        }
        self.with(Files::sync).await
    }

    async fn create_from_file(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<CreatedFile, ObjectsError> {
        self.refuse_read_only()?;
        let (key, source) = (key.clone(), source.to_owned());
        self.with(move |inner| inner.create_from_file(&key, &source, how)).await
    }

    async fn local_path(&self, key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError> {
        let key = key.clone();
        let there = self.with(move |inner| inner.there(&key)).await?;
        Ok(there.filter(|there| there.sort == Sort::Object).map(|there| there.path))
    }

    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        let key = key.clone();
        self.with(move |inner| {
            let Some(there) = inner.there(&key)? else { return Ok(None) };
            let opened = inner.sys.fs.open_read(&there.path).and_then(|mut file| {
                let size = file.seek(SeekFrom::End(0))?;
                file.rewind()?;
                Ok(ObjectReader::new(file, size))
            });
            match opened {
                Ok(reader) => {
                    inner.relies_on(&there.path);
                    Ok(Some(reader))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(inner.error(&there.path, error)),
            }
        })
        .await
    }

    fn store_id(&self) -> &str {
        &self.inner.id
    }
}
