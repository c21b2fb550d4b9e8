//! The fold as a whole: random walks against a recomputation from nothing.

mod common;

use std::sync::Arc;

use common::walk::{any_shape, audit, walk};
use proptest::prelude::*;
use prunella_journal::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_fold_agrees_with_a_recomputation_and_with_itself(
        edges in prop::collection::vec(any::<u8>(), 1..8),
        moves in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 1..400),
    ) {
        let shape = any_shape(&edges);
        let (run, accepted) = walk(&shape, &moves, |before, after, checked, applied| {
            assert_eq!(checked, applied);
            assert!(applied.is_ok() || before == after);
            audit(after);
        });
        let again = RunState::fold(Arc::clone(&shape), &accepted).expect("it was accepted the first time");
        prop_assert!(again == run);
        let twice = RunState::fold(Arc::clone(&shape), &accepted).expect("it was accepted the first time");
        prop_assert!(again == twice);
    }
}
