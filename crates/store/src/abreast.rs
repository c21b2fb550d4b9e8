//! Many jobs at once, so many and no more.

use std::future::Future;

use prunella_sys::Phases;
use tokio::task::JoinSet;

use crate::StoreError;

/// Does `work` for every job, at most `most` at once inside tokio, one after the other elsewhere; answers the outcomes in the
/// order of the jobs.
///
/// After the first error no more are begun, and those under way are waited for: whoever is told of it finds nobody at work.
pub(crate) async fn abreast<J, T, F>(
    jobs: impl IntoIterator<Item = J>,
    most: usize,
    work: impl Fn(J) -> F,
) -> Result<Vec<T>, StoreError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    if tokio::runtime::Handle::try_current().is_err() {
        // Nobody is there to hand a job to: one after the other.
        let mut outcomes = Vec::new();
        for job in jobs {
            outcomes.push(work(job).await?);
        }
        return Ok(outcomes);
    }
    let (mut outcomes, mut running, mut failed) = (Vec::new(), JoinSet::new(), None);
    let mut left = jobs.into_iter();
    loop {
        while running.len() < most.max(1)
            && failed.is_none()
            && let Some(job) = left.next()
        {
            let (at, done) = (outcomes.len(), work(job));
            outcomes.push(None);
            running.spawn(Phases::here().during(async move { (at, done.await) }));
        }
        match running.join_next().await {
            Some(Ok((at, Ok(outcome)))) => outcomes[at] = Some(outcome),
            Some(Ok((_, Err(error)))) => failed = failed.or(Some(error)),
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => break,
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(outcomes.into_iter().map(|outcome| outcome.expect("every job has ended")).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn error() -> StoreError {
        StoreError::Damaged { object: "x".to_owned(), problem: "y".to_owned() }
    }

    #[tokio::test]
    async fn outcomes_are_in_order_and_never_too_many_run() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let doubled = abreast(0..100_usize, 3, |job| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..job % 5 {
                    tokio::task::yield_now().await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(2 * job)
            }
        });
        assert_eq!(doubled.await.expect("no error"), (0..100).map(|job| 2 * job).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn after_an_error_nothing_is_begun_and_nothing_is_left_running() {
        let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let failed = abreast(0..100, 4, |job| {
            let (begun, ended) = (begun.clone(), ended.clone());
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                for _ in 0..job {
                    tokio::task::yield_now().await;
                }
                ended.fetch_add(1, Ordering::SeqCst);
                if job == 2 { Err(error()) } else { Ok(()) }
            }
        });
        assert!(failed.await.is_err());
        assert!(begun.load(Ordering::SeqCst) < 100);
        assert_eq!(begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
    }
}
