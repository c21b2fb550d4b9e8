//! What a step asks of a machine that this one does not have, before anything runs.

use prunella_attempt::lacks;
use prunella_engine::Plan;
use prunella_model::{ByteSize, CapacityWish, Prefer, Step};

use crate::{
    commands::run::accelerators,
    context::Context,
    error::CliError,
    present::{count, lasting},
};

/// Returns a line for every step that would fail, wait or be treated otherwise than it asks on this machine.
///
/// # Errors
/// [`CliError::Usage`] if `gpus` names no accelerators.
pub fn notes(context: &Context, plan: &Plan, gpus: Option<&str>) -> Result<Vec<String>, CliError> {
    let pipeline = &plan.graph().pipeline;
    let there = accelerators(context, pipeline, gpus)?.names.len();
    let memory = ByteSize(context.sys.machine.memory_total());
    let mut notes = Vec::new();
    // The items of a step ask for the same.
    for index in plan.indices().filter(|index| plan.topology().group_of(*index).is_none()) {
        let (id, step) = (plan.id(index), plan.step(index));
        notes.extend(of_step(step, there, memory).map(|note| format!("{id}: {note}")));
        notes.extend(lacks(&context.sys, step).map(|lack| format!("{id}: would fail: {lack}")));
    }
    Ok(notes)
}

fn of_step(step: &Step, accelerators: usize, memory: ByteSize) -> impl Iterator<Item = String> {
    let needed = step.resources.gpu;
    let gpu = (needed as usize > accelerators).then(|| {
        format!("would fail: it needs {}, this machine has {accelerators}", count(needed as usize, "accelerator"))
    });
    let most = step.resources.memory_max.or(step.resources.memory);
    let memory = most.filter(|most| *most > memory).map(|most| {
        let begins = step.resources.memory.is_some_and(|least| least > memory);
        let what = if begins { "it runs alone" } else { "it cannot grow so far here" };
        format!("asks for up to {most} of memory, this machine has {memory}: {what}")
    });
    let wish = step.capacity.as_ref().map(wish);
    [gpu, memory, wish].into_iter().flatten()
}

fn wish(wish: &CapacityWish) -> String {
    let kind = match wish.prefer {
        Some(Prefer::Spot) => "spot capacity",
        Some(Prefer::OnDemand) => "on-demand capacity",
        None => "any capacity",
    };
    let patience = wish.patience.map_or_else(String::new, |span| format!(" for {}", lasting(span.as_millis())));
    format!("would wait{patience} for {kind}; this machine is all there is here, and it waits only for what is taken")
}
