//! Where the stores of runs lie: on this machine, or in a bucket.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prunella_model::FOLDER;
use prunella_objects::{Directory, Embedded, Objects, ObjectsError};
use prunella_remote::{Options, Remote, StoreUrl, erase};
use prunella_store::Store;
use prunella_sys::Sys;

/// Where one store lies.
#[derive(Debug, Clone)]
pub enum Site {
    /// In a directory: records in SQLite.
    Directory(PathBuf),
    /// In a directory of plain files.
    Plain(PathBuf),
    /// In a bucket.
    Bucket {
        /// Its address.
        url: Box<StoreUrl>,
        /// How whoever looks on reads it; its copies are not those of the engines.
        options: Box<Options>,
    },
}

impl Site {
    /// Opens the store to look at it; nothing if nobody has made it yet. What is read suffers nothing.
    ///
    /// # Errors
    /// It is there and does not open.
    pub async fn open(&self, sys: &Sys) -> Result<Option<Store>, ObjectsError> {
        let opened: Result<Arc<dyn Objects>, ObjectsError> = match self {
            Self::Directory(dir) => Embedded::open_read_only(sys, dir).map(|store| Arc::new(store) as _),
            Self::Plain(dir) => Directory::open_read_only(sys, dir).map(|store| Arc::new(store) as _),
            Self::Bucket { url, options } => {
                Remote::open_existing(sys, url, options).await.map(|store| Arc::new(store) as _)
            }
        };
        match opened {
            Ok(objects) => Ok(Some(Store::new(objects, sys.clone()))),
            Err(ObjectsError::NoStore { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns what `--store` is told.
    pub fn word(&self) -> OsString {
        match self {
            Self::Directory(dir) => dir.into(),
            Self::Plain(dir) => {
                let mut word = OsString::from(FOLDER);
                word.push(dir);
                word
            }
            Self::Bucket { url, .. } => url.to_string().into(),
        }
    }
}

/// Where the stores of all runs lie.
#[derive(Debug, Clone, Default)]
pub enum Sites {
    /// Each in the directory of its run.
    #[default]
    Beside,
    /// Each in a directory of plain files below this one.
    Plain(PathBuf),
    /// Each below this address.
    Bucket {
        /// A place that nobody else uses.
        url: Box<StoreUrl>,
        /// How whoever looks on reads; the copies are in a directory of its own.
        options: Box<Options>,
        /// Where engines keep copies.
        copies: PathBuf,
    },
}

impl Sites {
    /// Returns where the store of the run in the directory `home` lies.
    pub fn of(&self, home: &Path) -> Site {
        let name = home.file_name().unwrap_or_default().to_string_lossy();
        match self {
            Self::Beside => Site::Directory(home.join("store")),
            Self::Plain(dir) => Site::Plain(dir.join(&*name)),
            Self::Bucket { url, options, .. } => {
                let prefix = format!("{}/{name}", url.prefix);
                Site::Bucket { url: Box::new(StoreUrl { prefix, ..*url.clone() }), options: options.clone() }
            }
        }
    }

    /// Removes the store of the run in the directory `home`; one that lies in that directory goes with it.
    ///
    /// # Errors
    /// What the bucket says, or the file system.
    pub async fn clear(&self, sys: &Sys, home: &Path) -> Result<(), ObjectsError> {
        match (self, self.of(home)) {
            (Self::Bucket { copies, .. }, Site::Bucket { url, options }) => {
                erase(sys, &url, &Options { cache: copies.clone(), ..*options }).await.map(drop)
            }
            (_, Site::Plain(dir)) => remove(sys, dir),
            _ => Ok(()),
        }
    }

    /// Removes the place of all stores, when none of them is kept.
    ///
    /// # Errors
    /// What the file system says.
    pub fn clear_place(&self, sys: &Sys) -> Result<(), ObjectsError> {
        match self {
            Self::Plain(dir) => remove(sys, dir.clone()),
            Self::Beside | Self::Bucket { .. } => Ok(()),
        }
    }
}

fn remove(sys: &Sys, dir: PathBuf) -> Result<(), ObjectsError> {
    sys.fs.remove_dir_all(&dir).map_err(|source| ObjectsError::Io { path: dir, source })
}
