//! Hunts deliberate bugs, and makes the plans small that show them: `hunt MOST [NUMBER…]`.
#![allow(clippy::disallowed_methods)]

use prunella_simulation::{Plan, hunt, shrink};
use prunella_sys::mutate_here;

fn main() {
    let words: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let most = words.first().copied().unwrap_or(1000);
    std::panic::set_hook(Box::new(|_| {}));
    for number in words.iter().skip(1) {
        let begun = std::time::Instant::now();
        let number = u32::try_from(*number).expect("a number");
        match hunt(number, most, 2) {
            Some(caught) => {
                let invariant = caught.invariant.unwrap_or("panic");
                println!("{number}: seed {} {invariant} {}", caught.seed, caught.what);
                if caught.invariant.is_some() {
                    mutate_here(number);
                    println!("    {}", shrink(&Plan::of(caught.seed)).0);
                    mutate_here(0);
                }
            }
            None => println!("{number}: not caught ({:.1} s)", begun.elapsed().as_secs_f64()),
        }
    }
}
