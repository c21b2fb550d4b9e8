//! Snapshots of complete checkpoint entries: taken, so that the program may go on; durable, so that they survive.

use std::{path::Path, sync::Arc, time::Duration};

use prunella_model::{ByteSize, CheckpointId, SlotId};
use prunella_store::{Snapshot, StoreError, records::CheckpointMark};
use prunella_sys::{FileKind, blocking};
use tokio::{sync::mpsc::UnboundedSender, task::JoinHandle};

use crate::{
    Host, Told,
    socket::Reply,
    stage::{Staged, stage},
    tell::Tell,
};

/// An entry to be taken.
pub(crate) struct Wanted {
    /// Its name in the checkpoint directory.
    pub(crate) entry: String,
    /// Whether the program promised never to write to it again.
    pub(crate) sealed: bool,
    /// What it said about its progress.
    pub(crate) progress: Option<serde_json::Value>,
    /// Who waits for an answer.
    pub(crate) reply: Option<UnboundedSender<Reply>>,
}

/// What became of one snapshot.
pub(crate) enum Stored {
    /// Durable.
    Durable(CheckpointMark),
    /// This entry was being written to, or gone: nothing was taken.
    Missed(String),
    /// There is no room for it: nothing was taken.
    NoRoom,
    /// The slot is filled: nothing of this attempt counts any more.
    Fenced,
    /// The store or the disk refused.
    Failed(StoreError),
}

/// Takes and stores one snapshot at a time, the newest first; one more may wait.
pub(crate) struct Snapshots {
    slot: SlotId,
    every: Duration,
    seq: u64,
    last: Option<Duration>,
    running: Option<JoinHandle<Stored>>,
    waiting: Option<Wanted>,
}

impl Snapshots {
    pub(crate) fn new(slot: SlotId) -> Self {
        Self { slot, every: Duration::ZERO, seq: 0, last: None, running: None, waiting: None }
    }

    /// Sets the least time between two snapshots.
    pub(crate) fn set_every(&mut self, every: Duration) {
        self.every = every;
    }

    /// Asks for a snapshot; one that still waits gives way to it.
    pub(crate) fn want(&mut self, wanted: Wanted) {
        if let Some(older) = self.waiting.replace(wanted)
            && let Some(reply) = older.reply
        {
            let _gone = reply.send(Reply::Superseded);
        }
    }

    /// Starts the next snapshot if none is running and the interval has passed (or `now_please`); answers whether it did.
    pub(crate) fn start(
        &mut self,
        host: &Host,
        directories: (&Path, &Path),
        tell: &Arc<dyn Tell>,
        now: Duration,
        now_please: bool,
    ) -> bool {
        let due = now_please || self.last.is_none_or(|last| now.saturating_sub(last) >= self.every);
        if self.running.is_some() || !due {
            return false;
        }
        let Some(wanted) = self.waiting.take() else { return false };
        self.seq += 1;
        self.last = Some(now);
        let (directory, staged) = directories;
        let job = Job {
            host: host.clone(),
            slot: self.slot,
            seq: self.seq,
            from: directory.join(&wanted.entry),
            staged: staged.join(self.seq.to_string()),
            wanted,
            tell: tell.clone(),
        };
        self.running = Some(tokio::spawn(job.run()));
        true
    }

    /// Returns whether a snapshot is being taken or waits.
    pub(crate) fn busy(&self) -> bool {
        self.running.is_some() || self.waiting.is_some()
    }

    /// Returns whether a snapshot is being taken or stored, and how many were begun.
    pub(crate) fn storing(&self) -> (bool, u64) {
        (self.running.is_some(), self.seq)
    }

    /// Waits for the running snapshot; never answers while there is none.
    pub(crate) async fn finished(&mut self) -> Stored {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let stored = running.await;
        self.running = None;
        stored.unwrap_or(Stored::NoRoom)
    }
}

struct Job {
    host: Host,
    slot: SlotId,
    seq: u64,
    from: std::path::PathBuf,
    staged: std::path::PathBuf,
    wanted: Wanted,
    tell: Arc<dyn Tell>,
}

impl Job {
    async fn run(self) -> Stored {
        let clock = self.host.sys.clock.clone();
        let begun = clock.monotonic();
        let (fs, from, to) = (self.host.sys.fs.clone(), self.from.clone(), self.staged.clone());
        let sealed = self.wanted.sealed;
        let bytes = match blocking(move || stage(&*fs, &from, &to, sealed)).await {
            Ok(Staged::Whole(bytes)) => bytes,
            Ok(Staged::Missed) => {
                self.discard();
                self.answer(Reply::Missed);
                return Stored::Missed(self.wanted.entry);
            }
            Ok(Staged::NoRoom { bytes, free }) => {
                let (bytes, free) = (ByteSize(bytes), ByteSize(free));
                return self.no_room(format!("its {bytes} are more than half of the {free} that are free"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                return self.no_room("the disk is full".to_owned());
            }
            Err(source) => {
                self.discard();
                self.answer(Reply::Failed { problem: source.to_string() });
                return Stored::Failed(StoreError::Io { path: self.from.clone(), source });
            }
        };
        let taken = clock.monotonic();
        let took_ms = millis(taken.saturating_sub(begun));
        let checkpoint = CheckpointId { slot: self.slot, seq: self.seq };
        self.tell.tell(Told::Taken { checkpoint, bytes, took_ms });
        self.answer(Reply::Taken { seq: self.seq });
        let progress = self.wanted.progress.clone();
        let stored =
            self.host.store.put_checkpoint(&self.slot, self.seq, &self.wanted.entry, &self.staged, progress).await;
        self.discard();
        match stored {
            Ok(Snapshot::Durable { id, bytes }) => {
                let durable = clock.monotonic();
                let store_ms = millis(durable.saturating_sub(taken));
                self.tell.tell(Told::Durable { checkpoint: id, bytes, took_ms: store_ms });
                self.answer(Reply::Durable { seq: self.seq });
                let (taken_ms, durable_ms) = (millis(taken), millis(durable));
                Stored::Durable(CheckpointMark { seq: self.seq, taken_ms, durable_ms, took_ms, bytes })
            }
            Ok(Snapshot::Fenced) => {
                self.answer(Reply::Failed { problem: "this attempt was closed by another".to_owned() });
                Stored::Fenced
            }
            Err(error) => {
                self.answer(Reply::Failed { problem: error.to_string() });
                Stored::Failed(error)
            }
        }
    }

    /// Gives the snapshot up for want of space: the program goes on, and the next entry is tried again.
    fn no_room(self, why: String) -> Stored {
        self.discard();
        self.answer(Reply::Failed { problem: why.clone() });
        self.tell.tell(Told::SnapshotSkipped { entry: self.wanted.entry, why });
        Stored::NoRoom
    }

    fn answer(&self, reply: Reply) {
        if let Some(sender) = &self.wanted.reply {
            let _gone = sender.send(reply);
        }
    }

    fn discard(&self) {
        let fs = &self.host.sys.fs;
        let _nothing_there = match fs.metadata(&self.staged) {
            Ok(Some(meta)) if meta.kind == FileKind::Dir => fs.remove_dir_all(&self.staged),
            Ok(Some(_)) => fs.remove_file(&self.staged),
            Ok(None) | Err(_) => Ok(()),
        };
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
