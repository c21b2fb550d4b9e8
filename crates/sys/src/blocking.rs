//! Long file work off the async threads.

use crate::phase::Phases;

/// Runs `f` where blocking is allowed and returns its result.
///
/// Inside tokio it runs on the blocking pool; elsewhere at once, on the caller's thread. A panic of `f` continues in the
/// caller. Dropping the future does not stop `f`. It is done in the caller's phases.
pub async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::runtime::Handle::try_current() {
        Err(_) => f(),
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
    use super::blocking;

    #[tokio::test]
    async fn work_leaves_the_async_thread() {
        let here = std::thread::current().id();
        assert_ne!(blocking(move || std::thread::current().id()).await, here);
    }
}
