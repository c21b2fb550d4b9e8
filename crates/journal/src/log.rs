//! The log of a run in the store: one object a segment, created once.

use prunella_model::{RunId, descending, from_descending};
use prunella_objects::{Created, ObjectKey, Objects, Op};

use crate::segment::{JournalError, Remedy, SegmentId, decode, encode};
use crate::{Event, Position, Stamped};

/// The outcome of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// The segment is there with these events.
    Ours,
    /// Another wrote a segment of this number: another process drives under the same number.
    Theirs,
}

fn prefix(run: &RunId) -> String {
    format!("runs/{run}/journal/")
}

/// Returns where a segment lies: `runs/<run>/journal/<driver>-<seq>`, numbers written so that the newest is listed first.
pub fn segment_key(id: &SegmentId) -> ObjectKey {
    let text = format!("{}{}-{}", prefix(&id.run), descending(id.driver), descending(id.seq));
    ObjectKey::new(text).expect("a run id and hex digits are a key")
}

fn parse(key: &str, run: &RunId) -> Option<Position> {
    let (driver, seq) = key.strip_prefix(prefix(run).as_str())?.split_once('-')?;
    Some(Position { driver: from_descending(driver)?, seq: from_descending(seq)? })
}

/// Returns the write that appends these events, to stand in one batch with the records that they report.
pub fn segment_op(id: &SegmentId, events: &[Stamped]) -> Op {
    Op::Create { key: segment_key(id), bytes: encode(id, events) }
}

/// Appends a segment; durable after the next sync of the store. Idempotent: repeating a call whose answer was lost returns [`Appended::Ours`].
///
/// # Errors
/// [`JournalError::Objects`] if the store did not do it, or did not answer.
pub async fn append(objects: &dyn Objects, id: &SegmentId, events: &[Stamped]) -> Result<Appended, JournalError> {
    let (key, bytes) = (segment_key(id), encode(id, events));
    match objects.create(&key, bytes.clone()).await {
        Ok(Created::New) => Ok(Appended::Ours),
        Ok(Created::There(there)) if there == bytes => Ok(Appended::Ours),
        Ok(Created::There(_)) => Ok(Appended::Theirs),
        Err(source) => Err(JournalError::Objects { key: key.to_string(), source }),
    }
}

/// What was read of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The events, in order.
    pub events: Vec<Stamped>,
    /// How far was read: what a driver that goes on from here says it continues.
    pub position: Position,
    /// Whether `events` begins at the beginning, so that the fold has to, too.
    pub anew: bool,
    /// The segments that were read, and how many of the events each holds.
    pub segments: Vec<(Position, usize)>,
}

/// Reads the whole log: drivers in order, and each driver's segments in order, as far as the next driver had read them.
///
/// # Errors
/// [`JournalError`] if a segment is missing, damaged or newer than this version.
pub async fn read_all(objects: &dyn Objects, run: &RunId) -> Result<Read, JournalError> {
    match read_sound(objects, run).await? {
        (_, Some(damage)) => Err(damage),
        (read, None) => Ok(read),
    }
}

/// Reads the log as [`read_all`] does, up to the first segment that is missing or damaged; says what is wrong with that.
///
/// A driver that goes on from there leaves out what came after it: state comes from the store's records then.
///
/// # Errors
/// [`JournalError`] if the store did not answer, or a segment is newer than this version.
pub async fn read_sound(objects: &dyn Objects, run: &RunId) -> Result<(Read, Option<JournalError>), JournalError> {
    let segments = segments_since(objects, run, Position::START).await?;
    let mut kept: Vec<Segment> = Vec::new();
    for (place, segment) in segments {
        if let Some(continues) = segment.as_deref().ok().and_then(|events| continues(place, events)) {
            // A driver that was superseded may have appended after its successor had read: that is evidence, not state.
            kept.retain(|(place, _)| *place <= continues);
            if continues != kept.last().map_or(Position::START, |(place, _)| *place) {
                let Position { driver, seq } = continues;
                kept.push((continues, Err(JournalError::Missing { run: run.clone(), driver, seq })));
            }
        }
        kept.push((place, segment));
    }
    let mut read = Read { events: Vec::new(), position: Position::START, anew: true, segments: Vec::new() };
    for (place, segment) in kept {
        match segment {
            Ok(mut events) => {
                read.position = place;
                read.segments.push((place, events.len()));
                read.events.append(&mut events);
            }
            Err(damage) => return Ok((read, Some(damage))),
        }
    }
    Ok((read, None))
}

/// A segment at its place, or what is wrong with it.
type Segment = (Position, Result<Vec<Stamped>, JournalError>);

/// Reads what was appended after `since`; the whole log if a new driver has left out something up to there.
///
/// Costs what is new: the newest segments are listed first.
///
/// # Errors
/// As [`read_all`].
pub async fn read_since(objects: &dyn Objects, run: &RunId, since: Position) -> Result<Read, JournalError> {
    let segments = segments_since(objects, run, since).await?;
    let mut position = since;
    let (mut found, mut places) = (Vec::new(), Vec::new());
    for (place, segment) in segments {
        let Ok(mut events) = segment else { return read_all(objects, run).await };
        if continues(place, &events).is_some_and(|continues| continues != position) {
            return read_all(objects, run).await;
        }
        position = place;
        places.push((place, events.len()));
        found.append(&mut events);
    }
    Ok(Read { events: found, position, anew: since == Position::START, segments: places })
}

/// Returns what a driver had read, if this is its first segment.
fn continues(place: Position, events: &[Stamped]) -> Option<Position> {
    events.iter().find_map(|stamped| match &stamped.event {
        Event::DriverStarted { continues, .. } if place.seq == 1 => Some(*continues),
        _ => None,
    })
}

async fn segments_since(objects: &dyn Objects, run: &RunId, since: Position) -> Result<Vec<Segment>, JournalError> {
    const PAGE: usize = 512;
    // What is new is little, as a rule.
    let mut page = if since == Position::START { PAGE } else { 8 };
    let prefix = prefix(run);
    let mut found: Vec<(Position, ObjectKey)> = Vec::new();
    let mut after: Option<ObjectKey> = None;
    'pages: loop {
        let listed = objects.list(&prefix, after.as_ref().map(ObjectKey::as_str), page).await;
        let listed = listed.map_err(|source| JournalError::Objects { key: prefix.clone(), source })?;
        let full = listed.len() == page;
        page = PAGE;
        for listed in listed {
            let place = parse(listed.key.as_str(), run)
                .ok_or_else(|| JournalError::Key { key: listed.key.as_str().to_owned() })?;
            if place <= since {
                break 'pages;
            }
            after = Some(listed.key.clone());
            found.push((place, listed.key));
        }
        if !full {
            break;
        }
    }
    let (mut segments, mut last) = (Vec::with_capacity(found.len()), since);
    for (place, key) in found.into_iter().rev() {
        let expected = if place.driver == last.driver { last.seq + 1 } else { 1 };
        let missing = || JournalError::Missing { run: run.clone(), driver: place.driver, seq: expected };
        if place.seq != expected {
            segments.push((Position { driver: place.driver, seq: expected }, Err(missing())));
        }
        let bytes = objects.get(&key).await;
        let bytes = bytes.map_err(|source| JournalError::Objects { key: key.to_string(), source })?;
        let ours = SegmentId { run: run.clone(), driver: place.driver, seq: place.seq };
        let segment = match bytes.map(|bytes| decode(key.as_str(), &bytes)) {
            None => Err(missing()),
            Some(Ok((id, _))) if id != ours => Err(JournalError::Misplaced { segment: key.to_string(), found: id }),
            Some(Err(error)) if error.remedy() != Remedy::UseRecords => return Err(error),
            Some(decoded) => decoded.map(|(_, events)| events),
        };
        segments.push((place, segment));
        last = place;
    }
    Ok(segments)
}

/// Returns how far the log reaches, whether all of it counts or not. Costs one listing.
///
/// # Errors
/// [`JournalError::Objects`] if the store did not answer.
pub async fn newest(objects: &dyn Objects, run: &RunId) -> Result<Position, JournalError> {
    let prefix = prefix(run);
    let listed = objects.list(&prefix, None, 1).await;
    let listed = listed.map_err(|source| JournalError::Objects { key: prefix.clone(), source })?;
    let Some(newest) = listed.first() else { return Ok(Position::START) };
    parse(newest.key.as_str(), run).ok_or_else(|| JournalError::Key { key: newest.key.to_string() })
}

/// Returns the newest event of a run; nothing if its log is empty, or if what was newest is damaged. Reads one segment.
///
/// # Errors
/// [`JournalError`] if that segment is newer than this version.
pub async fn last_event(objects: &dyn Objects, run: &RunId) -> Result<Option<Stamped>, JournalError> {
    match last_of_driver(objects, run).await {
        Err(damage) if damage.remedy() == Remedy::UseRecords => Ok(None),
        last => Ok(last?.map(|(_, event)| event)),
    }
}

/// Returns the newest event of a run with the number of the driver that wrote it; nothing if its log is empty.
///
/// # Errors
/// As [`last_event`].
pub async fn last_of_driver(objects: &dyn Objects, run: &RunId) -> Result<Option<(u64, Stamped)>, JournalError> {
    let prefix = prefix(run);
    let listed = objects.list(&prefix, None, 1).await;
    let listed = listed.map_err(|source| JournalError::Objects { key: prefix.clone(), source })?;
    let Some(newest) = listed.into_iter().next() else { return Ok(None) };
    let key = newest.key.to_string();
    let bytes = objects.get(&newest.key).await.map_err(|source| JournalError::Objects { key: key.clone(), source })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let (id, mut events) = decode(&key, &bytes)?;
    Ok(events.pop().map(|event| (id.driver, event)))
}
