//! What is listed of large pictures, and how wide.

use super::*;
use crate::{
    condition::Condition,
    drawing::{Artifact, Shown, picture::StepShown},
};

/// Returns `width` steps beside each other between a first and a last one, then a chain of `depth` steps.
fn large(width: usize, depth: usize) -> Picture {
    let mut steps = vec![("begin".to_owned(), 0)];
    steps.extend((0..width).map(|n| (format!("shard-{n:03}"), 1)));
    steps.push(("join".to_owned(), 2));
    steps.extend((0..depth).map(|n| (format!("chain-{n:03}"), n + 3)));
    let join = width + 1;
    let mut artifacts = vec![Artifact {
        from: Origin::Step(0),
        name: "parts".to_owned(),
        uses: (1..join).map(|user| (user, "part".to_owned())).collect(),
    }];
    let one =
        |from, to| Artifact { from: Origin::Step(from), name: "out".to_owned(), uses: vec![(to, "in".to_owned())] };
    artifacts.extend((1..join).map(|maker| one(maker, join)));
    artifacts.extend((0..depth).map(|n| one(join + n, join + n + 1)));
    let shown = |(name, rank)| StepShown { name, rank, condition: String::new(), handler: None, state: None };
    let steps = steps.into_iter().map(shown).collect();
    Picture {
        pipeline: "large".to_owned(),
        steps,
        artifacts,
        order: vec![(0, join)],
        conditions: Vec::new(),
        run: None,
    }
}

#[test]
fn a_thousand_steps_fit_on_some_screens_and_nothing_goes_uncounted() {
    let picture = large(498, 500);
    let text = listing(&picture, Paint::none(), 80, Extent::Readable);
    assert!(text.starts_with("large  1000 steps in 503 layers\n"), "{text}");
    assert!(text.lines().count() < 80, "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(text.contains("\n  … and 486 more\n"), "{text}");
    assert!(text.contains("\n… 478 more layers with 478 steps\n"), "{text}");
    let join = text.split_once("  join").expect("it is listed").1.split_once("\nlayer").expect("layers follow").0;
    assert_eq!(join.lines().count(), LINES, "{join}");
    let named = join.matches("shard-").count() + join.matches("after ").count();
    let left: usize = join.rsplit_once("… ").and_then(|(_, n)| n.split(' ').next()?.parse().ok()).expect("a count");
    assert_eq!(named + left, 499, "{join}");
}

#[test]
fn every_step_is_listed_when_all_are_asked_for() {
    let picture = large(498, 500);
    let text = listing(&picture, Paint::none(), 80, Extent::All);
    for step in &picture.steps {
        assert!(text.contains(&format!("  {}", step.name)), "{}", step.name);
    }
    assert!(!text.contains('…'));
}

#[test]
fn what_needs_attention_is_never_left_out_before_the_rest() {
    let mut picture = large(100, 100);
    for step in &mut picture.steps {
        step.state = Some(StepCondition::Done);
    }
    picture.steps[77].state = Some(StepCondition::Failed);
    picture.steps[160].state = Some(StepCondition::Running);
    picture.run = Some(Shown { id: "r".to_owned(), short: "r".to_owned(), condition: Condition::Running });
    let text = listing(&picture, Paint::none(), 80, Extent::Readable);
    assert!(text.contains("  ✗ shard-076  failed   ← begin.parts\n"), "{text}");
    assert!(text.contains("  … and 88 more: 88 done\n"), "{text}");
    assert!(text.contains("  ↻ chain-058  running  ← chain-057.out\n"), "{text}");
    assert!(text.contains("\n… 41 more layers with 41 steps: 41 done\nlayer 62\n"), "{text}");
}

#[test]
fn words_are_wrapped_and_the_rest_is_counted() {
    let words: Vec<String> = ["one", "two", "three", "four", "five"].map(str::to_owned).into();
    assert_eq!(wrapped(&words, 80, 3), ["one, two, three, four, five"]);
    assert_eq!(wrapped(&words, 11, 9), ["one, two,", "three,", "four, five"]);
    assert_eq!(wrapped(&words, 16, 2), ["one, two, three,", "four, five"]);
    assert_eq!(wrapped(&words, 16, 1), ["one, … 4 more"]);
    assert_eq!(wrapped(&[], 16, 1), [""]);
}
