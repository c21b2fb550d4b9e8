//! A run that is over, or as it stands, told from its events alone.

use std::collections::BTreeMap;

use prunella_journal::Stamped;
use prunella_model::SlotId;
use prunella_store::records;
use prunella_sys::Sys;

use super::{
    exporter::{Origin, Packing},
    sender::{Sender, Sent, shown},
    settings::Settings,
    spans::Spans,
    wire,
};

/// So many spans go in one request.
const BATCH: usize = 512;
/// So often a request is made again.
const TRIES: u32 = 5;

/// Sends the spans of these events, which must be a run's, and returns how many there were.
///
/// They are those that its engines told of, or would have: a receiver that has them already has no others then.
/// `recorded` answers with what the record of an attempt says of its time.
///
/// # Errors
/// What the receiver said, or that there is none for spans.
pub async fn send_whole<'a>(
    sys: &Sys,
    settings: &Settings,
    origin: &Origin,
    events: impl IntoIterator<Item = &'a Stamped>,
    recorded: impl Fn(&SlotId) -> Option<records::Timeline>,
) -> Result<usize, String> {
    let Some(receiver) = &settings.traces else { return Err("no receiver of traces is named".to_owned()) };
    let sender = Sender::new(sys, receiver.clone())?;
    let mut fold = Spans::new(&origin.store, origin.caller);
    let mut all = BTreeMap::<Vec<u8>, wire::Span>::new();
    for stamped in events {
        // A step that was given up and came through in the end was told of twice, under one name.
        for span in fold.push(stamped, &recorded).1 {
            all.insert(span.span_id.clone(), span);
        }
    }
    let (mut spans, packing) = (all.into_values().peekable(), Packing::of(settings, origin));
    let mut n = 0;
    while spans.peek().is_some() {
        let batch: Vec<wire::Span> = spans.by_ref().take(BATCH).collect();
        n += batch.len();
        deliver(sys, &sender, &sender.body(&packing.spans(batch))).await?;
    }
    Ok(n)
}

async fn deliver(sys: &Sys, sender: &Sender, body: &[u8]) -> Result<(), String> {
    let mut tries = 0;
    loop {
        tries += 1;
        let said = |why: String| format!("{}: {why}", sender.receiver());
        match sender.send(body.to_vec()).await {
            Sent::Taken(None) => return Ok(()),
            Sent::Taken(Some(partial)) if partial.rejected == 0 => return Ok(()),
            Sent::Taken(Some(partial)) => {
                let what = format!("{} spans were rejected: {}", partial.rejected, shown(&partial.error_message));
                return Err(said(what));
            }
            Sent::Refused(why) => return Err(said(why)),
            Sent::Later(_, why) if tries >= TRIES => return Err(said(why)),
            Sent::Later(after, _) => {
                let wait = after.unwrap_or(std::time::Duration::from_millis(250 << tries));
                sys.clock.sleep(wait.min(std::time::Duration::from_secs(30))).await;
            }
        }
    }
}
