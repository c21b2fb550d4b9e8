//! The store's directory and the record that says which format it has.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prunella_sys::{Sys, random_hex};
use serde::{Deserialize, Serialize};

use crate::error::ObjectsError;

/// The format written by this program and the newest it reads.
pub(super) const FORMAT: u32 = 1;

/// `prunella.json`: written once, when the store is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FormatRecord {
    /// Always `prunella-store`.
    pub kind: String,
    /// Version of the layout.
    pub format: u32,
    /// Random id of this store.
    pub store_id: String,
}

/// Creates what is missing of the store's directory and returns its format record. Safe when several do it at once.
pub(super) fn create(sys: &Sys, dir: &Path) -> Result<FormatRecord, ObjectsError> {
    if let Some(record) = read(sys, dir)? {
        return Ok(record);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| io_error(dir, &path, error)
    };
    sys.fs.create_dir_all_durable(dir).map_err(failed(dir))?;
    let record = FormatRecord { kind: KIND.into(), format: FORMAT, store_id: random_hex(&*sys.random, 16) };
    let path = dir.join(NAME);
    let part = dir.join(format!("{NAME}.{}.part", random_hex(&*sys.random, 8)));
    let text = serde_json::to_vec_pretty(&record).expect("a struct of strings and numbers is JSON");
    let written = (|| {
        let mut file = sys.fs.create_new(&part)?;
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync()?;
        let ours = sys.fs.rename_noreplace(&part, &path)?;
        if !ours {
            sys.fs.remove_file(&part)?;
        }
        sys.fs.sync_dir(dir)?;
        Ok(ours)
    })();
    match written {
        Ok(true) => Ok(record),
        Ok(false) => read(sys, dir)?.ok_or_else(|| ObjectsError::NoStore { path: dir.to_owned() }),
        Err(error) => {
            // What is left of it has a name that nobody reads.
            let _ = sys.fs.remove_file(&part);
            Err(io_error(dir, &path, error))
        }
    }
}

/// Returns the format record; `None` if there is no store.
pub(super) fn read(sys: &Sys, dir: &Path) -> Result<Option<FormatRecord>, ObjectsError> {
    let path = dir.join(NAME);
    let bytes = match sys.fs.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(dir, &path, error)),
    };
    let corrupt = |what: String| ObjectsError::Corrupt { key: None, path: path.clone(), what };
    // The version is read by itself: a newer record may have a shape that is unknown here.
    let version: Version = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
    if version.kind != KIND {
        return Err(corrupt(format!("its kind is `{}`, not `{KIND}`", version.kind)));
    }
    if version.format > FORMAT {
        return Err(ObjectsError::NewerFormat { path: dir.to_owned(), found: version.format, supported: FORMAT });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| corrupt(error.to_string()))
}

/// Turns a failed file operation into the error that says what to do.
pub(super) fn io_error(dir: &Path, path: &Path, source: io::Error) -> ObjectsError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ObjectsError::NoSpace { path: dir.to_owned() },
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            ObjectsError::ReadOnly { path: dir.to_owned() }
        }
        _ => ObjectsError::Io { path: path.to_owned(), source },
    }
}

/// Finds out by a small write why the store's directory cannot be used; `None` if it can.
pub(super) fn probe(sys: &Sys, dir: &Path) -> Option<ObjectsError> {
    let path: PathBuf = dir.join(format!("probe-{}.part", random_hex(&*sys.random, 8)));
    let written = (|| {
        let mut file = sys.fs.create_new(&path)?;
        file.write_all(&[0; 4096])?;
        file.sync()
    })();
    // It may not exist: then there is nothing to remove.
    let _ = sys.fs.remove_file(&path);
    written.err().map(|error| io_error(dir, &path, error))
}

const NAME: &str = "prunella.json";
const KIND: &str = "prunella-store";

#[derive(Deserialize)]
struct Version {
    kind: String,
    format: u32,
}
