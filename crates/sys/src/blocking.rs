//! Long file work off the async threads.

use std::cell::Cell;

use tokio::task::JoinHandle;

use crate::phase::Phases;

thread_local! {
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// Lets everything that would leave this thread be done on it, at once and in order, for as long as what is returned lives.
///
/// For simulations, in which nothing but the seed may decide what happens next.
#[must_use]
pub fn stay_on_this_thread() -> StaysHere {
    StaysHere { before: HERE.replace(true) }
}

/// Lets work leave the thread again when it is dropped.
#[derive(Debug)]
pub struct StaysHere {
    before: bool,
}

impl Drop for StaysHere {
    fn drop(&mut self) {
        HERE.set(self.before);
    }
}

/// Runs a future that computes for long beside the async threads.
///
/// Must be called within a Tokio runtime. Dropping the handle does not stop it.
pub fn aside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    if HERE.get() {
        return tokio::spawn(work);
    }
    let here = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || here.block_on(work))
}

/// Runs `f` where blocking is allowed and returns its result.
///
/// Inside tokio it runs on the blocking pool; elsewhere at once, on the caller's thread. A panic of `f` continues in the
/// caller. Dropping the future does not stop `f`. It is done in the caller's phases.
pub async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::runtime::Handle::try_current() {
        Err(_) => f(),
        Ok(_) if HERE.get() => f(),
        Ok(handle) => match handle.spawn_blocking(of_caller(f)).await {
            Ok(value) => value,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The pool refuses work only while its runtime is shut down, and then nobody polls this future any more.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Returns `f` as it is done in the phases of whoever asks now, wherever that is.
fn of_caller<T>(f: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let phases = Phases::here();
    move || phases.within(f)
}

#[cfg(test)]
mod tests {
    use super::{aside, blocking, stay_on_this_thread};

    #[tokio::test]
    async fn in_a_simulation_nothing_leaves_the_thread() {
        let here = std::thread::current().id();
        let stays = stay_on_this_thread();
        assert_eq!(blocking(move || std::thread::current().id()).await, here);
        assert_eq!(aside(async { std::thread::current().id() }).await.unwrap(), here);
        drop(stays);
        assert_ne!(aside(async { std::thread::current().id() }).await.unwrap(), here);
    }

    #[tokio::test]
    async fn work_leaves_the_async_thread() {
        let here = std::thread::current().id();
        assert_ne!(blocking(move || std::thread::current().id()).await, here);
    }
}
