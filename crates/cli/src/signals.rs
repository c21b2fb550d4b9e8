//! Signals of the outside as words for the engine: one owner, no work in handlers.

use prunella_attempt::{Control, Deadline};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Returns where the engine hears of Ctrl-C (once: end in checkpoints, twice: now) and of SIGTERM (a notice).
///
/// # Errors
/// If the system refuses a handler.
pub fn listen(on_stop: impl Fn(u32) + Send + 'static) -> std::io::Result<watch::Receiver<Control>> {
    let (say, hear) = watch::channel(Control::Run);
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
                () = say.closed() => return,
            };
            if source == "stop" {
                times += 1;
                on_stop(times);
            }
            let word = match times {
                0 | 1 => Control::Notice(Deadline { source: source.to_owned(), at: None }),
                _ => Control::Kill,
            };
            if say.send(word).is_err() {
                return;
            }
        }
    });
    Ok(hear)
}
