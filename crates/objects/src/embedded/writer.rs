//! The one thread that writes: it takes all that waits and commits it together.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use prunella_sys::{Operation, Phases, crash_point};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::database::{Database, is_undecided};
use crate::error::ObjectsError;
use crate::key::ObjectKey;

/// One change of the table.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// A small object.
    Create { key: ObjectKey, bytes: Bytes },
    /// An object whose bytes are durable in `data/<file>`.
    CreateFile { key: ObjectKey, file: String, size: u64 },
    /// A hint.
    Overwrite { key: ObjectKey, bytes: Bytes },
    /// The end of an object.
    Delete { key: ObjectKey },
    /// No change, but a look at what stands under the prefix then; the key is that of the change before.
    Look { key: ObjectKey, prefix: String },
}

/// The outcome of one change.
#[derive(Debug)]
pub(super) enum Changed {
    /// Created or overwritten.
    New,
    /// There was something; nothing was changed.
    There(Content),
    /// Deleted; the file that held it, if one did.
    Deleted(Option<String>),
    /// There was nothing to delete.
    Absent,
    /// What stood under the prefix.
    Seen(Vec<(String, Content)>),
}

/// Where an object's bytes are.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// In the table.
    Bytes(Bytes),
    /// In `data/<name>`.
    File { name: String, size: u64 },
}

struct Job {
    changes: Vec<Change>,
    phases: Phases,
    answer: oneshot::Sender<Result<Vec<Changed>, ObjectsError>>,
}

/// The most changes in one transaction, so that nobody waits long for others.
const GROUP: usize = 4096;

/// The handle of the writing thread. Dropping it waits until what was queued is written and the database closed.
pub(super) struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on its connection.
    pub fn start(database: Database, connection: Connection) -> Result<Self, ObjectsError> {
        let (jobs, queue) = channel();
        let path = database.dir.clone();
        let thread = std::thread::Builder::new()
            .name("objects-writer".into())
            .spawn(move || serve(&database, connection, &queue))
            .map_err(|source| ObjectsError::Io { path, source })?;
        Ok(Writer { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Carries out `changes` in order, in one transaction, and returns each outcome once it is committed.
    pub async fn write(&self, changes: Vec<Change>) -> Result<Vec<Changed>, ObjectsError> {
        let Some(key) = changes.first().map(|change| change.key().clone()) else { return Ok(Vec::new()) };
        let (answer, answered) = oneshot::channel();
        let lost = |_| ObjectsError::Undecided { key: key.clone(), message: "the writing thread ended".into() };
        self.jobs
            .as_ref()
            .expect("taken only by drop")
            .send(Job { changes, phases: Phases::here(), answer })
            .map_err(|_| lost(()))?;
        answered.await.map_err(|_| lost(()))?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was told to whoever waited for an answer.
            let _ = thread.join();
        }
    }
}

fn serve(database: &Database, connection: Connection, queue: &Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let mut size = first.changes.len();
        let mut jobs = vec![first];
        while size < GROUP {
            let Ok(job) = queue.try_recv() else { break };
            size += job.changes.len();
            jobs.push(job);
        }
        match write_group(database, &connection, &jobs) {
            Ok(outcomes) => {
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    // Nobody waits for it any more: it is done all the same.
                    let _ = job.answer.send(outcome);
                }
            }
            // One that fails must not spoil the others: each by itself.
            Err(_) if jobs.len() > 1 => {
                for job in jobs {
                    let outcome = write_group(database, &connection, std::slice::from_ref(&job));
                    let outcome = match outcome {
                        Ok(mut outcomes) => outcomes.pop().expect("one job has one outcome"),
                        Err(error) => Err(failure(database, &job, &error)),
                    };
                    let _ = job.answer.send(outcome);
                }
            }
            Err(error) => {
                let job = jobs.pop().expect("there is at least the first");
                let failure = failure(database, &job, &error);
                let _ = job.answer.send(Err(failure));
            }
        }
    }
}

fn failure(database: &Database, job: &Job, error: &rusqlite::Error) -> ObjectsError {
    match job.changes.first() {
        Some(change) if is_undecided(error) => {
            ObjectsError::Undecided { key: change.key().clone(), message: error.to_string() }
        }
        _ => database.error(error),
    }
}

type Outcome = Result<Vec<Changed>, ObjectsError>;

/// Writes all jobs in one transaction. After an error nothing of them is visible.
fn write_group(database: &Database, connection: &Connection, jobs: &[Job]) -> rusqlite::Result<Vec<Outcome>> {
    let transaction = connection.unchecked_transaction()?;
    let outcomes = jobs.iter().map(|job| write_job(connection, &job.changes)).collect::<rusqlite::Result<Vec<_>>>()?;
    let phases = jobs.iter().fold(Phases::default(), |all, job| all.or(job.phases));
    let keys =
        || jobs.iter().flat_map(|job| &job.changes).map(|change| change.key().as_str()).collect::<Vec<_>>().join(" ");
    let point = phases.within(|| crash_point(Operation::Transaction, keys));
    transaction.commit()?;
    point.done();
    database.sys.fs.transaction(&|| describe(jobs.iter().flat_map(|job| &job.changes)));
    Ok(outcomes)
}

fn write_job(connection: &Connection, changes: &[Change]) -> rusqlite::Result<Outcome> {
    let mut outcomes = Vec::with_capacity(changes.len());
    for change in changes {
        match change.execute(connection)? {
            Ok(changed) => outcomes.push(changed),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(outcomes))
}

impl Change {
    fn key(&self) -> &ObjectKey {
        match self {
            Self::Create { key, .. }
            | Self::CreateFile { key, .. }
            | Self::Overwrite { key, .. }
            | Self::Delete { key }
            | Self::Look { key, .. } => key,
        }
    }

    fn execute(&self, connection: &Connection) -> rusqlite::Result<Result<Changed, ObjectsError>> {
        const CREATE: &str = "INSERT INTO objects(key, size, hint, bytes, file) VALUES (?1, ?2, 0, ?3, ?4)
            ON CONFLICT(key) DO NOTHING";
        const OVERWRITE: &str = "INSERT INTO objects(key, size, hint, bytes) VALUES (?1, ?2, 1, ?3)
            ON CONFLICT(key) DO UPDATE SET size = excluded.size, bytes = excluded.bytes WHERE hint = 1";
        let new = match self {
            Self::Create { key, bytes } => {
                let values = params![key.as_str(), bytes.len() as i64, &bytes[..], None::<&str>];
                connection.prepare_cached(CREATE)?.execute(values)?
            }
            Self::CreateFile { key, file, size } => {
                let values = params![key.as_str(), *size as i64, None::<&[u8]>, file];
                connection.prepare_cached(CREATE)?.execute(values)?
            }
            Self::Overwrite { key, bytes } => {
                let values = params![key.as_str(), bytes.len() as i64, &bytes[..]];
                if connection.prepare_cached(OVERWRITE)?.execute(values)? == 0 {
                    return Ok(Err(ObjectsError::Immutable { key: key.clone() }));
                }
                1
            }
            Self::Delete { key } => {
                let mut delete = connection.prepare_cached("DELETE FROM objects WHERE key = ?1 RETURNING file")?;
                let deleted = delete.query_row([key.as_str()], |row| row.get(0)).optional()?;
                return Ok(Ok(deleted.map_or(Changed::Absent, Changed::Deleted)));
            }
            Self::Look { prefix, .. } => {
                return super::readers::read_prefix(connection, prefix, usize::MAX).map(|seen| Ok(Changed::Seen(seen)));
            }
        };
        if new == 1 {
            return Ok(Ok(Changed::New));
        }
        let there = super::readers::find(connection, self.key().as_str())?;
        Ok(Ok(Changed::There(there.expect("the conflict was in this transaction"))))
    }
}

/// A change in the form in which a file system that enumerates crashes keeps it.
#[derive(Serialize, Deserialize)]
struct Note {
    key: String,
    hint: bool,
    delete: bool,
    bytes: Option<Vec<u8>>,
    file: Option<String>,
    size: u64,
}

fn describe<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<u8> {
    let notes: Vec<Note> = changes
        .filter(|change| !matches!(change, Change::Look { .. }))
        .map(|change| {
            let mut note =
                Note { key: change.key().to_string(), hint: false, delete: false, bytes: None, file: None, size: 0 };
            match change {
                Change::Create { bytes, .. } => note.bytes = Some(bytes.to_vec()),
                Change::CreateFile { file, size, .. } => (note.file, note.size) = (Some(file.clone()), *size),
                Change::Overwrite { bytes, .. } => (note.hint, note.bytes) = (true, Some(bytes.to_vec())),
                Change::Delete { .. } => note.delete = true,
                Change::Look { .. } => {}
            }
            note
        })
        .collect();
    serde_json::to_vec(&notes).expect("a struct of strings and numbers is JSON")
}

/// Reads the changes back that a transaction noted.
pub(super) fn changes_of(transaction: &[u8]) -> Result<Vec<Change>, ObjectsError> {
    let notes: Vec<Note> = serde_json::from_slice(transaction).expect("only what was noted is given back");
    let change = |note: Note| {
        let key = ObjectKey::new(&note.key)?;
        Ok(match note {
            Note { delete: true, .. } => Change::Delete { key },
            Note { file: Some(file), size, .. } => Change::CreateFile { key, file, size },
            Note { hint: true, bytes, .. } => Change::Overwrite { key, bytes: bytes.unwrap_or_default().into() },
            Note { bytes, .. } => Change::Create { key, bytes: bytes.unwrap_or_default().into() },
        })
    };
    notes.into_iter().map(change).collect()
}
