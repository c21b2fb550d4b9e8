//! Words of the outside for the engine: signals, and whoever else has something to say. One owner, no work in handlers.

use std::sync::Arc;

use prunella_attempt::{Control, Deadline};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Where words for the engine are said; of several the most urgent holds, of notices the earliest deadline.
#[derive(Clone)]
pub struct Words(Arc<watch::Sender<Control>>);

impl Words {
    /// Says a word.
    pub fn say(&self, word: Control) {
        self.0.send_if_modified(|said| {
            let before = said.clone();
            *said = std::mem::take(said).and(word);
            *said != before
        });
    }
}

/// Returns where the engine hears of Ctrl-C (once: end in checkpoints, twice: now) and of SIGTERM (a notice), and where
/// others can say more.
///
/// # Errors
/// If the system refuses a handler.
pub fn listen(on_stop: impl Fn(u32) + Send + 'static) -> std::io::Result<(Words, watch::Receiver<Control>)> {
    let (say, hear) = watch::channel(Control::Run);
    let words = Words(Arc::new(say));
    let to_engine = words.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let mut times = 0;
        loop {
            let source = tokio::select! {
                Some(()) = interrupt.recv() => "stop",
                Some(()) = terminate.recv() => "sigterm",
                Some(()) = hangup.recv() => "stop",
                () = to_engine.0.closed() => return,
            };
            if source == "stop" {
                times += 1;
                on_stop(times);
            }
            to_engine.say(match times {
                0 | 1 => Control::Notice(Deadline::in_own_grace(source)),
                _ => Control::Kill,
            });
        }
    });
    Ok((words, hear))
}
