//! Bit rot in the store of a run, and what a user does about it at the end.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use prunella_sys::Random;
use rusqlite::{Connection, OpenFlags};

use crate::{
    oracle::broken,
    play::{Ended, Live, TICK},
    site::Site,
};

/// What is drawn: what decides, is noticed, and is made anew or done without (docs/stores.md, What rots).
///
/// Whoever meets a start or a driver's record that is damaged waits for its sign of life, a minute: that shows nothing more.
const KINDS: [&str; 6] = ["attempts.end", "bindings", "checkpoints", "data", "graph", "journal"];

/// So often a user goes on after rot before giving up.
const ROUNDS: u32 = 4;

/// Returns what kind of record or object this is.
fn kind(key: &str) -> &str {
    let mut parts = key.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("attempts"), _, Some(name)) if name.split('.').nth(1) == Some("end") => "attempts.end",
        (Some("runs"), _, Some(name)) if name.starts_with("graph") => "graph",
        (Some("runs"), _, Some(name)) => name,
        (Some(kind), ..) => kind,
        (None, ..) => "",
    }
}

/// Flips one bit of one object in the embedded store in `dir`; returns its key, or nothing if there is none that is drawn.
///
/// # Errors
/// The store is held up by others for too long, or cannot be written.
fn flip(dir: &Path, random: &dyn Random) -> rusqlite::Result<Option<String>> {
    let path = dir.join("store.db");
    let Ok(database) = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE) else { return Ok(None) };
    database.busy_timeout(Duration::from_secs(5))?;
    let mut kinds: BTreeMap<String, Vec<(String, Option<String>)>> = BTreeMap::new();
    {
        let mut rows = database.prepare("SELECT key, file FROM objects ORDER BY key")?;
        let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?;
        for row in rows {
            let (key, file) = row?;
            if KINDS.contains(&kind(&key)) {
                kinds.entry(kind(&key).to_owned()).or_default().push((key, file));
            }
        }
    }
    let kinds: Vec<_> = kinds.into_values().collect();
    let below = |n: usize| usize::try_from(random.u64() % n.max(1) as u64).unwrap_or(0);
    let Some((key, file)) = kinds.get(below(kinds.len())).and_then(|alike| alike.get(below(alike.len()))) else {
        return Ok(None);
    };
    let (at, bit) = (random.u64(), 1_u8 << (random.u64() % 8));
    let changed = match file {
        Some(file) => flip_in_file(&dir.join("data").join(file), at, bit).is_ok(),
        None => {
            let mut bytes: Vec<u8> =
                database.query_row("SELECT bytes FROM objects WHERE key = ?1", [key], |row| row.get(0))?;
            let place = usize::try_from(at % bytes.len().max(1) as u64).unwrap_or(0);
            match bytes.get_mut(place) {
                Some(byte) => *byte ^= bit,
                None => return Ok(None),
            }
            database.execute("UPDATE objects SET bytes = ?2 WHERE key = ?1", (key, bytes))? == 1
        }
    };
    Ok(changed.then(|| key.clone()))
}

fn flip_in_file(path: &Path, at: u64, bit: u8) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    let file = fs::File::open(path)?;
    // Its owner may write to what others only read: the handle is open, and the mode is put back.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    let written = (|| {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        let place = at % file.metadata()?.len().max(1);
        let mut byte = [0];
        file.read_exact_at(&mut byte, place)?;
        file.write_all_at(&[byte[0] ^ bit], place)
    })();
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    written
}

impl Live<'_> {
    /// Lets something in the store rot; says whether there was anything.
    pub(crate) fn rot(&mut self) -> bool {
        // Others are behind a service, or of files that name nobody: what rots there is what `rotting` in the tests shows.
        let Site::Directory(dir) = self.arena.site() else { return false };
        match flip(dir, self.random) {
            Ok(Some(key)) => {
                self.note(format!("bytes in the store rot: {key}"));
                self.oracle.rotten(&key);
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.note(format!("nothing rots: {error}"));
                false
            }
        }
    }

    /// Does what a user does who knows that something has rotted: goes on, heals, and if that cannot be done runs again.
    pub(crate) async fn mend(&mut self) -> Result<(), Ended> {
        for _ in 0..ROUNDS {
            if self.played.code == Some(0) {
                let code = self.heal().await?;
                self.note(format!("`heal` ended with {code}"));
                if code == 0 {
                    return Ok(());
                }
            }
            self.go_on_with(&[])?;
            if self.wait(self.patience.end).await?.is_none() {
                return Err(broken("I10 ends", "the run does not end").into());
            }
        }
        Ok(())
    }

    async fn heal(&mut self) -> Result<i32, Ended> {
        let until = self.sys.clock.monotonic() + self.patience.end;
        let mut healer = self.arena.heal(self.subject).map_err(Ended::Start)?;
        loop {
            if let Some(status) = healer.try_wait().map_err(Ended::Start)? {
                return Ok(status.code().unwrap_or(-1));
            }
            if self.sys.clock.monotonic() > until {
                let _ended = healer.kill();
                let _ended = healer.wait();
                return Err(broken("I10 ends", "`heal` does not end").into());
            }
            self.sys.clock.sleep(TICK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_noticed_and_made_anew_is_drawn() {
        let drawn = |key| KINDS.contains(&kind(key));
        for key in [
            "attempts/ab/0001.end.json",
            "runs/r/graph.json",
            "runs/r/journal/0001-0002",
            "runs/r/bindings/x.json",
            "checkpoints/ab/1-1.json",
            "data/ab/x",
        ] {
            assert!(drawn(key), "{key}");
        }
        for key in [
            "attempts/ab/0001.start.json",
            "attempts/ab/0001.alive.json",
            "runs/r/drivers/1.json",
            "prunella.json",
            "names/p/1",
        ] {
            assert!(!drawn(key), "{key}");
        }
    }

    #[test]
    fn a_file_has_one_other_bit_and_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("object");
        let file = fs::OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
        file.write_all_at(b"bytes", 0).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o444)).unwrap();
        flip_in_file(&path, 6, 1).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"bxtes");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
    }
}
