//! Stores of which every byte can be changed behind their back.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use prunella_bucketkit::{ACCESS_KEY, S3Server, SECRET_KEY, Stored};
use rusqlite::Connection;

use crate::home::Home;

/// What lies at a key.
pub type Content = Vec<u8>;

/// A store of which every byte can be changed behind its back.
pub trait Shelf {
    /// Adds what a command needs to find the store.
    fn command(&self, home: &Home, words: &[&str]) -> std::process::Command;
    fn all(&self) -> BTreeMap<String, Content>;
    fn set(&self, key: &str, content: Option<Content>);
    /// Lets the store be as it was when the shelf was made.
    fn restore(&self);
}

/// The embedded store: rows, and files.
pub struct Rows {
    pub dir: PathBuf,
    pub kept: PathBuf,
}

impl Rows {
    pub fn of(home: &Home) -> Self {
        let rows = Self { dir: home.dir.join(".prunella"), kept: home.beside("kept") };
        // All in one file, so that all of it can rot.
        rows.open().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("nobody has it open");
        copy(&rows.dir, &rows.kept);
        rows
    }

    pub fn open(&self) -> Connection {
        Connection::open(self.dir.join("store.db")).expect("a database")
    }
}

impl Rows {
    pub fn rows(&self) -> rusqlite::Result<BTreeMap<String, Content>> {
        let database = self.open();
        let mut rows = database.prepare("SELECT key, bytes, file FROM objects")?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.map(|row| {
            let (key, bytes, file): (String, Option<Content>, Option<String>) = row?;
            let read = |file: String| fs::read(self.dir.join("data").join(file)).unwrap_or_default();
            Ok((key, bytes.or_else(|| file.map(read)).unwrap_or_default()))
        })
        .collect()
    }
}

pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp is everywhere").success());
}

impl Shelf for Rows {
    fn command(&self, home: &Home, words: &[&str]) -> std::process::Command {
        home.command(words)
    }

    fn all(&self) -> BTreeMap<String, Content> {
        self.rows().expect("a sound database")
    }

    fn set(&self, key: &str, content: Option<Content>) {
        let database = self.open();
        let file: Option<String> =
            database.query_row("SELECT file FROM objects WHERE key = ?1", [key], |row| row.get(0)).expect("a row");
        let path = file.map(|file| self.dir.join("data").join(file));
        let changed = match (content, path) {
            (None, _) => database.execute("DELETE FROM objects WHERE key = ?1", [key]),
            (Some(bytes), Some(path)) => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
                fs::write(path, bytes).expect("ours");
                Ok(1)
            }
            // The size stays what it was, as it would if the bytes alone rotted.
            (Some(bytes), None) => database.execute("UPDATE objects SET bytes = ?2 WHERE key = ?1", (key, bytes)),
        };
        assert_eq!(changed.expect("written"), 1, "{key}");
    }

    fn restore(&self) {
        fs::remove_dir_all(&self.dir).expect("ours");
        copy(&self.kept, &self.dir);
    }
}

/// A store in a bucket.
pub struct Bucket {
    pub server: S3Server,
    pub kept: BTreeMap<String, Stored>,
}

const PREFIX: &str = "store/";

impl Shelf for Bucket {
    fn command(&self, home: &Home, words: &[&str]) -> std::process::Command {
        let mut command = home.command(words);
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.env("PRUNELLA_STORE", self.server.url("bucket", "store"));
        command
    }

    fn all(&self) -> BTreeMap<String, Content> {
        let contents = self.server.objects().contents("bucket").into_iter();
        let inside = contents.filter_map(|(key, stored)| Some((key.strip_prefix(PREFIX)?.to_owned(), stored)));
        inside.map(|(key, stored)| (key, stored.bytes.to_vec())).collect()
    }

    fn set(&self, key: &str, content: Option<Content>) {
        let key = format!("{PREFIX}{key}");
        match content {
            None => assert!(self.server.objects().lose("bucket", &key)),
            Some(bytes) => self.server.objects().damage("bucket", &key, |there| *there = bytes).expect("it is there"),
        }
    }

    fn restore(&self) {
        self.server.objects().put_back("bucket", self.kept.clone());
    }
}
