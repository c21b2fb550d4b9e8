//! Which steps are made anew although their results are there.

use std::collections::BTreeSet;

use clap::Args;
use prunella_model::{Pipeline, StepName};

use crate::{commands::among, error::CliError};

/// Which steps are made anew.
#[derive(Debug, Args)]
pub struct Force {
    /// Make the result of this step anew, although it is there; what depends on it follows if it gets other bytes.
    #[arg(long, value_name = "STEP")]
    force: Vec<String>,

    /// Make everything that depends on the forced steps anew, too, whatever bytes it gets.
    #[arg(long, requires = "force")]
    downstream: bool,

    /// Make this step and everything that depends on it anew: as `--force STEP --downstream`.
    #[arg(long, value_name = "STEP")]
    from: Vec<String>,
}

impl Force {
    /// Returns the steps to force, in the order of the file; none if nothing was asked for.
    ///
    /// # Errors
    /// [`CliError::Usage`] names every word that is no step.
    pub fn steps(&self, pipeline: &Pipeline) -> Result<Vec<StepName>, CliError> {
        let named = |words: &[String]| -> BTreeSet<StepName> {
            let steps = words.iter().filter_map(|word| StepName::new(word).ok());
            steps.filter(|step| pipeline.steps.contains_key(step)).collect()
        };
        let words = self.force.iter().chain(&self.from);
        let unknown: BTreeSet<String> =
            words.filter(|word| !pipeline.steps.contains_key(word.as_str())).map(|word| format!("`{word}`")).collect();
        if !unknown.is_empty() {
            let names: Vec<&str> = pipeline.steps.keys().map(StepName::as_str).collect();
            let unknown = unknown.into_iter().collect::<Vec<_>>().join(", ");
            return Err(CliError::Usage(format!("there is no step {unknown} to force"), Some(among("steps", &names))));
        }
        let mut forced = named(&self.from);
        if self.downstream {
            forced.append(&mut named(&self.force));
        }
        follow(pipeline, &mut forced);
        forced.append(&mut named(&self.force));
        Ok(pipeline.steps.keys().filter(|step| forced.contains(*step)).cloned().collect())
    }
}

/// Adds every step that needs one of these, by data or by order.
fn follow(pipeline: &Pipeline, forced: &mut BTreeSet<StepName>) {
    let mut consumers = std::collections::BTreeMap::<&StepName, Vec<&StepName>>::new();
    for (name, step) in &pipeline.steps {
        step.needs().for_each(|need| consumers.entry(need).or_default().push(name));
    }
    let mut left: Vec<StepName> = forced.iter().cloned().collect();
    while let Some(step) = left.pop() {
        for consumer in consumers.get(&step).into_iter().flatten() {
            if forced.insert((*consumer).clone()) {
                left.push((*consumer).clone());
            }
        }
    }
}
