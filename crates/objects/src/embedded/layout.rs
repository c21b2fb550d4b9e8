//! The store's directory and the record that says which format it has.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prunella_sys::{Sys, random_hex};
use serde::{Deserialize, Serialize};

use crate::{
    error::ObjectsError,
    store_id::{is_store_id, new_store_id},
};

/// The format written by this program and the newest it reads.
pub(crate) const FORMAT: u32 = 1;

/// `prunella.json`: written once, when the store is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FormatRecord {
    /// `prunella-store`, or `prunella-directory`.
    pub kind: String,
    /// Version of the layout.
    pub format: u32,
    /// Random id of this store.
    pub store_id: String,
}

/// Creates what is missing of the store's directory and returns its format record. Safe when several do it at once.
pub(crate) fn create(sys: &Sys, dir: &Path, wanted: &str) -> Result<FormatRecord, ObjectsError> {
    if let Some(record) = read(sys, dir, wanted)? {
        return Ok(record);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| io_error(dir, &path, error)
    };
    sys.fs.create_dir_all_durable(dir).map_err(failed(dir))?;
    let record = FormatRecord { kind: wanted.into(), format: FORMAT, store_id: new_store_id(&*sys.random) };
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
        Ok(false) => read(sys, dir, wanted)?.ok_or_else(|| ObjectsError::NoStore { path: dir.to_owned() }),
        Err(error) => {
            // What is left of it has a name that nobody reads.
            let _ = sys.fs.remove_file(&part);
            Err(io_error(dir, &path, error))
        }
    }
}

/// Returns the format record; `None` if there is no store.
pub(crate) fn read(sys: &Sys, dir: &Path, wanted: &str) -> Result<Option<FormatRecord>, ObjectsError> {
    let path = dir.join(NAME);
    let bytes = match sys.fs.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(dir, &path, error)),
    };
    let corrupt = |what: String| ObjectsError::Corrupt { key: None, path: path.clone(), what };
    // The version is read by itself: a newer record may have a shape that is unknown here.
    let version: Version = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
    let shown = dir.display();
    let unfit = |message: String| Err(ObjectsError::Unfit { store: shown.to_string(), message });
    match (version.kind.as_str(), wanted) {
        (found, wanted) if found == wanted => {}
        (DIRECTORY, _) => return unfit(format!("it is a plain directory store; name it as `dir://{shown}`")),
        (EMBEDDED, _) => return unfit(format!("it is an embedded store, with SQLite; name it as `{shown}`")),
        (found, _) => return Err(corrupt(format!("its kind is `{found}`, not `{wanted}`"))),
    }
    if version.format > FORMAT {
        return Err(ObjectsError::NewerFormat { path: dir.to_owned(), found: version.format, supported: FORMAT });
    }
    let record: FormatRecord = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
    match is_store_id(&record.store_id) {
        true => Ok(Some(record)),
        false => Err(corrupt("its store id is not the one that was written".to_owned())),
    }
}

/// Turns a failed file operation into the error that says what to do.
pub(crate) fn io_error(dir: &Path, path: &Path, source: io::Error) -> ObjectsError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ObjectsError::NoSpace { path: dir.to_owned() },
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            ObjectsError::ReadOnly { path: dir.to_owned() }
        }
        _ => ObjectsError::Io { path: path.to_owned(), source },
    }
}

/// Finds out by a small write why the store's directory cannot be used; `None` if it can.
pub(crate) fn probe(sys: &Sys, dir: &Path) -> Option<ObjectsError> {
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
/// The kind of a store with SQLite.
pub(crate) const EMBEDDED: &str = "prunella-store";
/// The kind of a store of files alone.
pub(crate) const DIRECTORY: &str = "prunella-directory";

#[derive(Deserialize)]
struct Version {
    kind: String,
    format: u32,
}
