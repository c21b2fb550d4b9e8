//! Hunts deliberate bugs, and makes the plans small that show them: `hunt MOST [NUMBER…]`; with `whole` as the first word in whole
//! runs.
#![allow(clippy::disallowed_methods)]

use prunella_simulation::{Plan, WholePlan, hunt, hunt_whole, shrink, shrink_whole};
use prunella_sys::mutate_here;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let whole = words.first().is_some_and(|word| word == "whole");
    let words: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let most = words.first().copied().unwrap_or(1000);
    std::panic::set_hook(Box::new(|_| {}));
    for number in words.iter().skip(1) {
        let begun = std::time::Instant::now();
        let number = u32::try_from(*number).expect("a number");
        let hunts = if whole { hunt_whole } else { hunt };
        match hunts(number, most, 2) {
            Some(caught) => {
                let invariant = caught.invariant.unwrap_or("panic");
                println!("{number}: seed {} {invariant} {}", caught.seed, caught.what);
                if caught.invariant.is_some() {
                    mutate_here(number);
                    let small = match whole {
                        true => shrink_whole(&WholePlan::of(caught.seed)).0.to_string(),
                        false => shrink(&Plan::of(caught.seed)).0.to_string(),
                    };
                    println!("    {small}");
                    mutate_here(0);
                }
            }
            None => println!("{number}: not caught ({:.1} s)", begun.elapsed().as_secs_f64()),
        }
    }
}
