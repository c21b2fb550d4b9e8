//! How much memory a waiting step takes, counted by the allocator.
#![allow(unsafe_code, reason = "a global allocator can only be written so")]

mod decide_sim;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use decide_sim::*;
use prunella_engine::Plan;
use prunella_journal::RunState;
use prunella_model::ForEach;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

/// One test at a time counts.
static COUNTS: Mutex<()> = Mutex::new(());

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_waiting_step_takes_less_than_two_kibibytes_of_plan_and_state() {
    const COUNT: usize = 100_000;
    let _alone = COUNTS.lock();
    let held = || HELD.load(Ordering::Relaxed);
    let mut steps = vec![("s0".to_owned(), spec(&[]))];
    steps.extend((1..COUNT).map(|i| (format!("s{i}"), spec(&[&format!("s{}", i - 1)]))));
    let before = held();
    let graph = graph(&steps);
    let with_graph = held();
    let plan = Plan::build(graph, &[]).expect("a plan");
    let with_plan = held();
    let state = RunState::new(Arc::clone(plan.topology()));
    let with_state = held();
    let [graph, plan_only, state_only] =
        [with_graph - before, with_plan - with_graph, with_state - with_plan].map(|bytes| bytes / COUNT);
    println!("a waiting step: graph {graph} B, plan {plan_only} B, state {state_only} B");
    assert!(plan_only + state_only < 1024, "{plan_only} + {state_only}");
    drop((plan, state));
}

#[test]
fn a_waiting_item_takes_less_than_two_kibibytes_of_plan_and_state() {
    const COUNT: u32 = 100_000;
    let _alone = COUNTS.lock();
    let held = || HELD.load(Ordering::Relaxed);
    let each = Spec { for_each: Some(ForEach::Items((0..COUNT).map(numbered).collect())), ..Spec::default() };
    let graph = graph(&[("each".to_owned(), each), ("all".to_owned(), spec(&["each"]))]);
    let before = held();
    let plan = Plan::build(graph, &[]).expect("a plan");
    let with_plan = held();
    let state = RunState::new(Arc::clone(plan.topology()));
    let with_state = held();
    let [plan_only, state_only] = [with_plan - before, with_state - with_plan].map(|bytes| bytes / COUNT as usize);
    println!("a waiting item: plan {plan_only} B, state {state_only} B");
    assert!(plan_only + state_only < 1024, "{plan_only} + {state_only}");
    drop((plan, state));
}
