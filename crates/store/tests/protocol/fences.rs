//! I5: after a slot is closed its attempt commits nothing and gets no `durable`.

use prunella_store::records::{End, EndRecord};
use prunella_store::{Filled, Snapshot};

use crate::bench::*;

#[tokio::test]
async fn i5_fence_a_closed_attempt_commits_nothing_and_gets_no_durable() {
    for bench in Bench::each() {
        let (zombie, other) = (bench.member(), bench.member());
        let slot = claim(&zombie, &request(bench.owner(1), "a")).await;
        assert_eq!(other.close(&slot, closed("a")).await.unwrap(), Filled::Ours);
        let filled = commit(&zombie, &slot, &bench.file("out", b"late")).await.unwrap();
        assert!(matches!(filled, Filled::Theirs(end) if matches!(end.end, End::Closed(_))));
        let path = bench.file("ckpt", b"late");
        let stored = zombie.put_checkpoint(&slot, 1, "ckpt", &path, None).await.unwrap();
        assert_eq!(stored, Snapshot::Fenced);
        assert_eq!(check(&other, &key("train")).await, None);
    }
}

#[tokio::test]
async fn i5_fence_a_fence_of_ones_own_engine_fences_as_well() {
    // Attempts of one engine share its writer id: a slot that it closed is closed for its own attempt, too.
    for bench in Bench::each() {
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        assert_eq!(store.close(&slot, closed("a")).await.unwrap(), Filled::Ours);
        let filled = commit(&store, &slot, &bench.file("out", b"late")).await.unwrap();
        assert!(matches!(filled, Filled::Theirs(_)), "{}: a closed slot was taken for a commit", bench.name);
        // The same close again is still one's own.
        assert_eq!(store.close(&slot, closed("a")).await.unwrap(), Filled::Ours);
    }
}

#[tokio::test]
async fn a_commit_is_never_taken_for_a_close() {
    // An attempt whose commit stood although it heard nothing of it then closes: the answer has to say "committed".
    for bench in Bench::each() {
        let store = bench.member();
        let slot = claim(&store, &request(bench.owner(1), "a")).await;
        assert_eq!(commit(&store, &slot, &bench.file("out", b"x")).await.unwrap(), Filled::Ours);
        let filled = store.close(&slot, closed("a")).await.unwrap();
        assert!(matches!(filled, Filled::Theirs(end) if matches!(end.end, End::Committed(_))), "{}", bench.name);
        assert!(matches!(store.fence(&slot, closed("a")).await.unwrap(), End::Committed(_)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i2_once_a_commit_and_many_fences_at_once_fill_the_slot_once() {
    for bench in Bench::each() {
        let (mut committed, mut fenced) = (0, 0);
        for round in 0..40 {
            let zombie = bench.member();
            let mut asked = request(bench.owner(1), "a");
            asked.key = key(&format!("round {round}"));
            let slot = claim(&zombie, &asked).await;
            let path = bench.file(&format!("{round}"), b"result");
            let fences: Vec<_> = (0..4)
                .map(|_| {
                    let store = bench.member();
                    tokio::spawn(async move { store.close(&slot, closed("a")).await.unwrap() })
                })
                .collect();
            let mut ours = 0;
            let filled = commit(&zombie, &slot, &path).await.unwrap();
            ours += usize::from(filled == Filled::Ours);
            let mut answers = vec![filled];
            for fence in fences {
                let filled = fence.await.unwrap();
                ours += usize::from(filled == Filled::Ours);
                answers.push(filled);
            }
            assert_eq!(ours, 1, "one filled it");
            let end = zombie.end_of(&slot).await.unwrap().unwrap();
            let theirs = |filled: &Filled| match filled {
                Filled::Theirs(there) => **there == end,
                Filled::Ours => true,
            };
            assert!(answers.iter().all(theirs), "all others were told what stands");
            match end {
                EndRecord { end: End::Committed(_), .. } => committed += 1,
                EndRecord { end: End::Closed(_), .. } => fenced += 1,
            }
            check(&zombie, &slot.key).await;
        }
        assert_eq!(committed + fenced, 40, "{}", bench.name);
    }
}
