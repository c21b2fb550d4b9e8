//! The journal of a driver: events are applied at once and written in groups, in order, one group at a time.

use std::{sync::Arc, time::Duration};

use prunella_journal::{
    Event, JournalError, Kept, Position, SegmentId, Stamped, StepIndex, Whereabouts, segment_key, segment_op,
};
use prunella_model::{RunId, Span};
use prunella_objects::{Created, Objects, Op};
use prunella_store::{Store, records::BoundStep};
use prunella_sys::Sys;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    EngineError,
    summarize::{Summaries, Turn},
};

/// Lines that are written together at most.
const MOST: usize = 4096;
/// Events that may wait to be written while more are told at once: enough that ten thousand reused steps wait for no disk, and
/// little beside what a hundred thousand steps take.
const ROOM: u64 = 16 * MOST as u64;
/// How long a store that refuses is asked again before the driver gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long lines are gathered before they are written: the journal only reports what records decided, so it need not cost
/// a durable write of its own for every step.
const GATHER: Duration = Duration::from_millis(20);

enum Line {
    Event(Box<Stamped>, Option<StepIndex>, Option<Box<BoundStep>>),
    /// The state that all events before it fold to.
    Summary(Box<Kept>, Turn),
    Flush(oneshot::Sender<()>),
    /// As a flush, and no summary is under way any more.
    Settle(oneshot::Sender<()>),
}

/// Where a driver writes what happened; the writing itself goes on beside it (group commit).
pub(crate) struct Notebook {
    lines: mpsc::UnboundedSender<Line>,
    writer: Option<JoinHandle<Result<(), EngineError>>>,
    sys: Sys,
    began: Duration,
    /// Events given to the writer, and how many of them it has written.
    given: u64,
    written: watch::Receiver<u64>,
}

impl Notebook {
    /// Opens the notebook of a driver; `whereabouts` are those of the events before, `places` those of the plan's steps
    /// in the graph.
    pub(crate) fn open(
        objects: Arc<dyn Objects>,
        sys: Sys,
        (run, driver): (RunId, u64),
        whereabouts: Whereabouts,
        places: Vec<u32>,
    ) -> Self {
        let (lines, received) = mpsc::unbounded_channel();
        let began = sys.clock.monotonic();
        let summaries = Summaries::new(objects.clone(), run.clone(), places);
        let (tell, written) = watch::channel(0);
        let writer = Writer { objects, sys: sys.clone(), run, driver, seq: 0, whereabouts, summaries, written: tell };
        Self { lines, writer: Some(tokio::spawn(writer.write(received))), sys, began, given: 0, written }
    }

    /// Returns the driver's time: monotonic, since its start.
    pub(crate) fn now(&self) -> Span {
        self.sys.clock.monotonic().saturating_sub(self.began).into()
    }

    /// Returns the event with its times.
    pub(crate) fn stamp(&self, event: Event) -> Stamped {
        Stamped { at_ms: u64::try_from(self.sys.clock.wall_ms()).unwrap_or(0), mono: self.now(), event }
    }

    /// Gives an event, the step that it is about, and what it is bound to by it, to the writer.
    pub(crate) fn write(&mut self, stamped: Stamped, step: Option<StepIndex>, bound: Option<BoundStep>) {
        self.given += 1;
        // A writer that is gone has failed; `failed` and `flush` say so.
        let _failed = self.lines.send(Line::Event(Box::new(stamped), step, bound.map(Box::new)));
    }

    /// Gives what all events so far fold to to the writer, to be a summary.
    pub(crate) fn summarize(&self, kept: Kept, turn: Turn) {
        let _failed = self.lines.send(Line::Summary(Box::new(kept), turn));
    }

    /// Waits until few events are still to be written: who has very many to tell at once asks before each.
    pub(crate) async fn room(&mut self) -> Result<(), EngineError> {
        while self.given - *self.written.borrow_and_update() > ROOM {
            if self.written.changed().await.is_err() {
                return Err(self.failed().await);
            }
        }
        Ok(())
    }

    /// Waits until everything written so far is durable.
    pub(crate) async fn flush(&mut self) -> Result<(), EngineError> {
        self.wait_for(Line::Flush).await
    }

    /// Waits until everything written so far is durable, and the last summary there or given up.
    pub(crate) async fn settle(&mut self) -> Result<(), EngineError> {
        self.wait_for(Line::Settle).await
    }

    async fn wait_for(&mut self, line: impl FnOnce(oneshot::Sender<()>) -> Line) -> Result<(), EngineError> {
        let (done, wait) = oneshot::channel();
        let sent = self.lines.send(line(done)).is_ok();
        if sent && wait.await.is_ok() { Ok(()) } else { Err(self.failed().await) }
    }

    /// Waits for the writer to fail; never answers while it works.
    pub(crate) async fn failed(&mut self) -> EngineError {
        match &mut self.writer {
            None => std::future::pending().await,
            Some(writer) => {
                let ended = writer.await;
                self.writer = None;
                match ended {
                    Ok(Err(error)) => error,
                    Ok(Ok(())) | Err(_) => EngineError::Journal(JournalError::Torn { segment: "the last".to_owned() }),
                }
            }
        }
    }
}

struct Writer {
    objects: Arc<dyn Objects>,
    sys: Sys,
    run: RunId,
    driver: u64,
    seq: u64,
    whereabouts: Whereabouts,
    summaries: Summaries,
    written: watch::Sender<u64>,
}

/// What is written together: events, and the records that go with them.
#[derive(Default)]
struct Page {
    events: Vec<Stamped>,
    steps: Vec<StepIndex>,
    bound: Vec<BoundStep>,
}

impl Writer {
    async fn write(mut self, mut lines: mpsc::UnboundedReceiver<Line>) -> Result<(), EngineError> {
        let mut group = Vec::new();
        while lines.recv_many(&mut group, MOST).await > 0 {
            self.gather(&mut lines, &mut group).await;
            let (mut page, mut waiting, mut settles) = (Page::default(), Vec::new(), false);
            for line in group.drain(..) {
                match line {
                    Line::Event(stamped, step, bound) => {
                        page.events.push(*stamped);
                        page.steps.extend(step);
                        page.bound.extend(bound.map(|bound| *bound));
                    }
                    Line::Summary(kept, turn) => {
                        // It stands for whole segments.
                        self.turn(std::mem::take(&mut page)).await?;
                        let position = Position { driver: self.driver, seq: self.seq };
                        self.summaries.write(*kept, turn, position, &self.whereabouts);
                    }
                    Line::Flush(done) => waiting.push(done),
                    Line::Settle(done) => {
                        settles = true;
                        waiting.push(done);
                    }
                }
            }
            self.turn(page).await?;
            if settles {
                self.summaries.settle().await;
            }
            for done in waiting {
                let _gone = done.send(());
            }
        }
        Ok(())
    }

    /// Writes a page as the next segment, if there is something on it.
    async fn turn(&mut self, page: Page) -> Result<(), EngineError> {
        let Page { events, steps, bound } = page;
        if events.is_empty() {
            return Ok(());
        }
        let count = events.len() as u64;
        self.seq += 1;
        let id = SegmentId { run: self.run.clone(), driver: self.driver, seq: self.seq };
        // The records first: the segment only reports them.
        let key = segment_key(&id);
        let page = key.as_str().rsplit('/').next().unwrap_or_default();
        let mut records = Store::binding_ops(&self.run, page, bound);
        records.push(segment_op(&id, &events));
        self.put(records).await?;
        self.whereabouts.begin(Position { driver: self.driver, seq: self.seq });
        steps.into_iter().for_each(|step| self.whereabouts.note(step));
        self.written.send_modify(|written| *written += count);
        Ok(())
    }

    /// Adds what comes within the gathering time; a flush ends it.
    async fn gather(&self, lines: &mut mpsc::UnboundedReceiver<Line>, group: &mut Vec<Line>) {
        let mut time = self.sys.clock.sleep(GATHER);
        while group.len() < MOST && !matches!(group.last(), Some(Line::Flush(_) | Line::Settle(_))) {
            tokio::select! {
                biased;
                () = &mut time => return,
                n = lines.recv_many(group, MOST) => if n == 0 { return },
            }
        }
    }

    async fn put(&self, ops: Vec<Op>) -> Result<(), EngineError> {
        let begun = self.sys.clock.monotonic();
        loop {
            match self.objects.batch(ops.clone()).await {
                Ok(created) => {
                    return match (created.last(), ops.last()) {
                        (Some(Created::There(there)), Some(Op::Create { bytes, .. })) if there != bytes => {
                            Err(EngineError::Twin { run: self.run.clone() })
                        }
                        // Beside the work: no step waits for the disk, and a loss of power takes the last moments only.
                        _ => self.objects.sync().await.map_err(|error| prunella_store::StoreError::from(error).into()),
                    };
                }
                Err(error) if self.sys.clock.monotonic().saturating_sub(begun) >= PATIENCE => {
                    return Err(prunella_store::StoreError::from(error).into());
                }
                Err(_) => self.sys.clock.sleep(ASK_AGAIN).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prunella_journal::read_all;
    use prunella_objects::Memory;

    use super::*;

    #[tokio::test]
    async fn who_tells_very_many_events_at_once_waits_for_the_writer() {
        let sys = Sys::real();
        let (objects, run) = (Arc::new(Memory::new(&sys)), RunId::new("run").unwrap());
        let whereabouts = Whereabouts::default();
        let mut notebook = Notebook::open(objects.clone(), sys, (run.clone(), 1), whereabouts, Vec::new());
        let all = 3 * ROOM + 5;
        for _ in 0..all {
            notebook.room().await.unwrap();
            assert!(notebook.given - *notebook.written.borrow() <= ROOM, "what waits stays little");
            let event = Event::StopRequested { how: prunella_journal::StopHow::Checkpoint };
            notebook.write(notebook.stamp(event), None, None);
        }
        notebook.flush().await.unwrap();
        assert_eq!(*notebook.written.borrow(), all);
        assert_eq!(read_all(&*objects, &run).await.unwrap().events.len() as u64, all, "and nothing is lost");
    }
}
