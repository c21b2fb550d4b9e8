//! `decide` with steps that fan out, against a naive evaluator: whatever happens on the way, the end is what it says.

mod decide_sim;

use std::cell::RefCell;
use std::collections::BTreeMap;

use decide_sim::*;
use proptest::prelude::*;
use prunella_engine::Capacity;
use prunella_journal::{Event, RunStatus, Stage, StepIndex};
use prunella_model::{ForEach, Item, PortName, Resources, StepId};

/// What a step goes through.
#[derive(Debug, Clone)]
enum Fan {
    /// It runs once.
    Once,
    /// These numbers.
    Written(Vec<u32>),
    /// The list that this step makes.
    Listed(usize),
    /// The items of this step.
    Follows(usize),
}

#[derive(Debug, Clone)]
struct Shape {
    /// Which of a few commands it runs: equal ones with equal inputs are the same work.
    command: u8,
    fan: Fan,
    needs: Vec<usize>,
    after: Vec<usize>,
    when: Option<usize>,
    troubles: Vec<u8>,
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let one = (0u8..5, any::<u16>(), 0u8..8, any::<u8>(), prop::collection::vec(0u8..4, 0..4));
    prop::collection::vec(one, 1..9).prop_map(|all| {
        let mut shapes: Vec<Shape> = Vec::new();
        for (i, (command, bits, form, which, troubles)) in all.into_iter().enumerate() {
            let is = |want_group: bool| {
                let fit: Vec<usize> = (0..i).filter(|n| matches!(shapes[*n].fan, Fan::Once) != want_group).collect();
                fit.get(usize::from(which) % fit.len().max(1)).copied()
            };
            let written = || Fan::Written((0..5).filter(|n| which >> n & 1 == 1).collect());
            let fan = match form {
                0..=2 => Fan::Once,
                3 => written(),
                4 | 5 => is(false).map_or_else(written, Fan::Listed),
                _ => is(true).map_or_else(written, Fan::Follows),
            };
            let mut needs: Vec<usize> =
                (0..i).filter(|n| bits >> (n % 16) & 1 == 1 && (bits >> ((n + 5) % 16)) & 1 == 1).collect();
            // Who goes through another's items reads it, mostly.
            if let Fan::Follows(of) = fan
                && form == 7
                && !needs.contains(&of)
            {
                needs.push(of);
            }
            let after = (0..i).filter(|n| bits >> (n % 16) & 1 == 1 && (bits >> ((n + 3) % 16)) & 3 == 2).collect();
            let when = (i > 0 && bits >> 13 & 3 == 1).then(|| (bits % 256) as usize % i.max(1));
            shapes.push(Shape { command, fan, needs, after, when, troubles });
        }
        shapes
    })
}

fn step_name(i: usize) -> String {
    format!("s{i}")
}

/// A step or an item, by the number of its step.
type Unit = (usize, Option<Item>);

/// Command 0 fails for every odd item, and where there are no items; command 4 needs an accelerator more than there are.
fn dooms(shape: &Shape, item: Option<&Item>) -> bool {
    let odd = item.is_none_or(|item| item.as_str().parse::<u32>().is_ok_and(|n| n % 2 == 1));
    (shape.command == 0 && odd) || shape.command == 4
}

fn is_dead(stage: Stage) -> bool {
    matches!(stage, Stage::Failed | Stage::Blocked)
}

/// The evaluator: every step and item from the first to the last, and what it says of each.
struct Naive<'a> {
    shapes: &'a [Shape],
    sim: &'a Sim<'a>,
    ends: BTreeMap<Unit, Stage>,
    /// Steps of which it may have been answered anew whether they run, or what they go through.
    turns: Vec<bool>,
}

impl Naive<'_> {
    fn place(&self, (step, item): &Unit) -> Option<StepIndex> {
        let name = name(&step_name(*step));
        let id = match item {
            None => StepId::plain(name),
            Some(item) => StepId::of_item(name, item.clone()),
        };
        self.sim.plan.index(&id)
    }

    fn ended(&self, unit: &Unit) -> Stage {
        self.sim.state.state(self.place(unit).expect("it is in the plan")).stage()
    }

    /// The step whose list it goes through.
    fn leader(&self, step: usize) -> usize {
        match self.shapes[step].fan {
            Fan::Follows(of) => self.leader(of),
            _ => step,
        }
    }

    fn members(&self, step: usize) -> Vec<Item> {
        let place = self.place(&(step, None)).expect("it is in the plan");
        let members = self.sim.plan.topology().members(place).unwrap_or_default();
        members.iter().map(|member| self.sim.plan.id(*member).item.clone().expect("an item")).collect()
    }

    /// What it goes through, as far as what stands for its list says it.
    fn items(&self, step: usize) -> Option<Vec<Item>> {
        match &self.shapes[self.leader(step)].fan {
            Fan::Written(numbers) => Some(numbers.iter().copied().map(numbered).collect()),
            Fan::Listed(by) => {
                let done = self.sim.state.done(self.place(&(*by, None))?)?;
                Some(done.artifacts.iter().flat_map(|(_, artifact)| listed(artifact)).collect())
            }
            Fan::Once | Fan::Follows(_) => None,
        }
    }

    /// What a unit needs: of those that go through its own list, what it reads of the same item.
    fn need(&self, unit: &Unit, need: usize, of_item: bool) -> Unit {
        let together = of_item && unit.1.is_some() && self.leader(unit.0) == self.leader(need);
        (need, unit.1.clone().filter(|_| together && !matches!(self.shapes[need].fan, Fan::Once)))
    }

    fn holds(&self, read: usize) -> bool {
        let whole = (read, None);
        let units: Vec<Unit> = match self.shapes[read].fan {
            Fan::Once => vec![whole],
            _ => self.members(read).into_iter().map(|item| (read, Some(item))).collect(),
        };
        let done = units.iter().filter_map(|unit| self.sim.state.done(self.place(unit)?));
        done.flat_map(|done| done.artifacts.iter()).all(|(_, artifact)| holds(artifact))
    }

    fn end(&self, unit: &Unit) -> Stage {
        let shape = &self.shapes[unit.0];
        let mut reads: Vec<Unit> = shape.needs.iter().map(|need| self.need(unit, *need, true)).collect();
        reads.extend(shape.when.iter().map(|read| self.need(unit, *read, false)));
        let after = shape.after.iter().map(|need| self.need(unit, *need, false));
        let all: Vec<Unit> = reads.iter().cloned().chain(after).collect();
        let dead = |need: &Unit| is_dead(self.ends[need]);
        let ended = self.ended(unit);
        // What was settled when something that only comes before it turned stays, and so does what was given up.
        let doomed = dooms(shape, unit.1.as_ref());
        let stays = all.iter().any(|need| self.turns[need.0] && dead(need));
        let was_blocked = ended == Stage::Blocked && all.iter().any(|need| self.turns[need.0]);
        let keeps = !reads.iter().any(dead) && matches!(ended, Stage::Done | Stage::Skipped);
        if (stays && (keeps || ended == Stage::Failed && doomed)) || was_blocked {
            ended
        } else if all.iter().any(dead) {
            Stage::Blocked
        } else if ended == Stage::Failed && doomed {
            Stage::Failed
        } else if reads.iter().any(|need| self.ends[need] == Stage::Skipped)
            || shape.when.is_some_and(|read| !self.holds(read))
        {
            Stage::Skipped
        } else if doomed {
            Stage::Failed
        } else {
            Stage::Done
        }
    }

    /// Says how a step that fans out ends, after its items.
    fn group_end(&mut self, step: usize) -> Stage {
        let before = match &self.shapes[step].fan {
            Fan::Listed(by) => self.ends[&(*by, None)],
            Fan::Follows(_) => self.ends[&(self.leader(step), None)],
            Fan::Once | Fan::Written(_) => Stage::Done,
        };
        let ended = self.ended(&(step, None));
        let items = self.members(step);
        for item in &items {
            let unit = (step, Some(item.clone()));
            let end = self.end(&unit);
            self.ends.insert(unit, end);
        }
        let lost = items.iter().any(|item| is_dead(self.ends[&(step, Some(item.clone()))]));
        match before {
            // It was given up for an item that a newer list has no more.
            _ if ended == Stage::Blocked && self.turns[step] => Stage::Blocked,
            Stage::Skipped => Stage::Skipped,
            _ if is_dead(before) || lost => Stage::Blocked,
            _ => Stage::Gathered,
        }
    }

    fn evaluate(&mut self) {
        // Without damage nothing was made twice, and nothing can have turned.
        let quiet = !self.sim.journal.iter().any(|stamped| matches!(stamped.event, Event::InputDamaged { .. }));
        for step in 0..self.shapes.len() {
            let shape = &self.shapes[step];
            let before = shape.needs.iter().chain(&shape.after).any(|need| self.turns[*need]);
            let list = match shape.fan {
                Fan::Once | Fan::Written(_) => false,
                Fan::Listed(_) => true,
                Fan::Follows(of) => self.turns[of],
            };
            self.turns.push(!quiet && (shape.when.is_some() || before || list));
            let end = match shape.fan {
                Fan::Once => self.end(&(step, None)),
                _ => self.group_end(step),
            };
            self.ends.insert((step, None), end);
        }
    }
}

fn spec_of(shapes: &[Shape], shape: &Shape) -> Spec {
    let for_each = match &shape.fan {
        Fan::Once => None,
        Fan::Written(numbers) => Some(ForEach::Items(numbers.iter().copied().map(numbered).collect())),
        Fan::Listed(by) => {
            Some(ForEach::Output { step: name(&step_name(*by)), output: PortName::new("out").expect("a name") })
        }
        Fan::Follows(of) => Some(ForEach::Step(name(&step_name(*of)))),
    };
    assert!(shapes.len() < 16);
    Spec {
        command: format!("command {}", shape.command),
        needs: shape.needs.iter().map(|need| step_name(*need)).collect(),
        after: shape.after.iter().map(|need| step_name(*need)).collect(),
        when: shape.when.map(step_name),
        for_each,
        resources: Resources { gpu: if shape.command == 4 { 2 } else { 0 }, ..Resources::default() },
        ..Spec::default()
    }
}

/// Runs it, and compares its end with what the evaluator says.
fn agrees(shapes: &[Shape], seed: u64, jobs: usize, disturbances: &[(u32, bool)]) -> Result<(), TestCaseError> {
    let capacity = Capacity { jobs, cpu_millis: 64_000, memory_bytes: 64 << 30, gpu: 1 };
    let steps: Vec<(String, Spec)> =
        shapes.iter().enumerate().map(|(i, shape)| (step_name(i), spec_of(shapes, shape))).collect();
    let by_name: BTreeMap<String, Shape> =
        shapes.iter().enumerate().map(|(i, shape)| (step_name(i), shape.clone())).collect();
    let tries: RefCell<BTreeMap<String, usize>> = RefCell::default();
    let fates: Fates<'_> = Box::new(|step, key, epoch| {
        let shape = &by_name[step.name.as_str()];
        if dooms(shape, step.item.as_ref()) {
            return Fate::Fails;
        }
        let mut tries = tries.borrow_mut();
        let nth = tries.entry(step.to_string()).or_insert(0);
        *nth += 1;
        // Not every item has the same troubles.
        let shift = step
            .item
            .as_ref()
            .map_or(0, |item| item.as_str().len() + item.as_str().bytes().map(usize::from).sum::<usize>());
        let of = |nth: usize| shape.troubles.get((nth - 1 + shift) % 4);
        match of(*nth).filter(|_| *nth <= 4) {
            Some(0) => Fate::Killed,
            // Once: the budget is one a damaged input.
            Some(1) if !shape.needs.is_empty() && !(1..*nth).any(|nth| of(nth) == Some(&1)) => Fate::FindsDamage,
            Some(2) if epoch == 1 => Fate::Waits(String::new()),
            // Not the same bytes when it is made anew.
            Some(3) => Fate::Commits(format!("{} of epoch {epoch}", key.short())),
            _ => Fate::Commits(key.short()),
        }
    });
    let mut sim = Sim::new(graph(&steps), capacity, seed, fates);
    let status = sim.disturbed(disturbances);
    let mut naive = Naive { shapes, sim: &sim, ends: BTreeMap::new(), turns: Vec::new() };
    naive.evaluate();
    for (unit, expected) in &naive.ends {
        prop_assert_eq!(naive.ended(unit), *expected, "{:?} of {:?}", unit, sim.stages());
    }
    let well = naive.ends.values().all(|end| !is_dead(*end));
    prop_assert_eq!(status, if well { RunStatus::Succeeded } else { RunStatus::Failed });
    // What is whole was gone through by its list as it is now, each item once and in its order.
    for (step, shape) in shapes.iter().enumerate() {
        if naive.ended(&(step, None)) == Stage::Gathered && !matches!(shape.fan, Fan::Once | Fan::Follows(_)) {
            prop_assert_eq!(Some(naive.members(step)), naive.items(step), "s{}", step);
        }
    }
    // The end is consistent: what stands for a step was keyed with what stands for its producers.
    let scope = prunella_model::KeyScope {
        run: prunella_model::RunId::new("run-1").expect("a run id"),
        driver: sim.state.driver(),
    };
    for step in sim.plan.indices() {
        let Some(done) = sim.state.done(step) else { continue };
        prop_assert_eq!(sim.plan.key(&sim.state, step, &scope), Ok(done.slot.key), "{}", sim.plan.id(step));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1500), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_with_items_ends_as_the_evaluator_says(
        shapes in shapes(),
        seed in any::<u64>(),
        jobs in 1usize..5,
        disturbances in prop::collection::vec((1u32..60, any::<bool>()), 0..4),
    ) {
        agrees(&shapes, seed, jobs, &disturbances)?;
    }
}

fn shape(command: u8, fan: Fan, needs: &[usize], when: Option<usize>, troubles: &[u8]) -> Shape {
    Shape { command, fan, needs: needs.to_vec(), after: Vec::new(), when, troubles: troubles.to_vec() }
}

fn after(after: &[usize], shape: Shape) -> Shape {
    Shape { after: after.to_vec(), ..shape }
}

#[test]
fn an_item_that_goes_is_not_bound_and_not_started_by_what_was_decided_before() {
    let shapes = [shape(2, Fan::Once, &[], None, &[2]), shape(1, Fan::Listed(0), &[0], None, &[1])];
    agrees(&shapes, 123_459_996_746, 1, &[]).expect("it ends as it should");
}

#[test]
fn a_list_is_read_anew_although_an_item_of_the_old_one_was_given_up() {
    let shapes = [
        shape(2, Fan::Written(vec![0, 4]), &[], None, &[0, 1, 3]),
        shape(1, Fan::Once, &[0], Some(0), &[3]),
        shape(0, Fan::Listed(1), &[0], None, &[]),
        after(&[1], shape(0, Fan::Once, &[0], None, &[])),
        shape(1, Fan::Listed(1), &[0], None, &[0, 1]),
        shape(4, Fan::Once, &[], None, &[]),
    ];
    agrees(&shapes, 281_940_339_760_083_072, 1, &[(1, false)]).expect("it ends as it should");
}

#[test]
fn what_an_item_blocked_stays_blocked_after_the_item_went() {
    let shapes = [
        shape(2, Fan::Once, &[], None, &[2]),
        shape(0, Fan::Listed(0), &[0], None, &[0, 1]),
        shape(0, Fan::Once, &[], Some(0), &[]),
        shape(4, Fan::Follows(1), &[1], None, &[]),
        shape(0, Fan::Once, &[3], None, &[]),
        after(&[4], shape(0, Fan::Follows(1), &[], None, &[])),
    ];
    agrees(&shapes, 38_624_415_847_189_090, 1, &[]).expect("it ends as it should");
}

#[test]
fn what_goes_through_the_items_of_a_step_that_is_skipped_in_the_end_is_skipped_too() {
    let shapes = [
        shape(3, Fan::Once, &[], None, &[2]),
        shape(0, Fan::Written(vec![0, 2, 3]), &[0], Some(0), &[0, 1]),
        shape(3, Fan::Once, &[], Some(0), &[]),
        shape(0, Fan::Once, &[], None, &[]),
        shape(0, Fan::Listed(2), &[], None, &[]),
        shape(0, Fan::Follows(4), &[], None, &[]),
    ];
    agrees(&shapes, 0, 1, &[]).expect("it ends as it should");
}

#[test]
fn nothing_is_bound_on_what_rests_on_a_step_that_is_being_skipped() {
    let shapes = [
        shape(1, Fan::Once, &[], None, &[0, 3]),
        shape(1, Fan::Once, &[], None, &[3]),
        shape(0, Fan::Written(vec![0]), &[], Some(1), &[]),
        shape(0, Fan::Follows(2), &[2], None, &[]),
        shape(0, Fan::Once, &[], None, &[]),
        shape(0, Fan::Once, &[], None, &[]),
        shape(0, Fan::Follows(3), &[3], None, &[]),
        after(&[2], shape(1, Fan::Once, &[1, 6], None, &[1])),
    ];
    agrees(&shapes, 0, 1, &[]).expect("it ends as it should");
}

#[test]
fn i10_an_item_and_a_step_of_the_same_work_do_not_wait_for_each_other_for_ever() {
    let shapes = [
        shape(3, Fan::Written(vec![0, 1, 2, 3, 4]), &[], None, &[0]),
        after(&[0], shape(3, Fan::Written(vec![0, 2]), &[], None, &[])),
        shape(1, Fan::Written(vec![0, 1, 3, 4]), &[], None, &[0, 0]),
        shape(0, Fan::Follows(0), &[0], None, &[0, 1]),
    ];
    agrees(&shapes, 1_088_551_863_655_969_534, 4, &[]).expect("it ends as it should");
}

#[test]
fn what_goes_through_the_items_of_a_step_that_is_skipped_before_it_was_whole_is_skipped_too() {
    let shapes = [
        shape(3, Fan::Once, &[], None, &[2]),
        shape(1, Fan::Once, &[], Some(0), &[]),
        shape(1, Fan::Written(vec![1, 2]), &[0], None, &[0, 0, 1]),
        shape(0, Fan::Once, &[], None, &[]),
        shape(0, Fan::Listed(1), &[], None, &[]),
        shape(1, Fan::Follows(4), &[], None, &[]),
    ];
    agrees(&shapes, 110_380_446_050_540_454, 2, &[]).expect("it ends as it should");
}
