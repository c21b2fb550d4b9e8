//! Steps that wait for each other.

use indexmap::IndexMap;
use prunella_model::{Source, StepName};

use crate::{diagnostic::Mark, reader::Reader, step::StepDraft};

/// How many names of a cycle a message shows.
const SHOWN: usize = 12;

impl<'s> Reader<'s> {
    /// Notes every reference that closes a circle, with the circle's path.
    ///
    /// A walk in depth over the steps in the order of the file: each reference back to a step that is still open
    /// closes one circle, and every circle has such a reference. No recursion: chains are as long as files.
    pub fn cycles(&mut self, drafts: &IndexMap<StepName, StepDraft<'s>>) {
        let needs: Vec<Vec<(usize, Mark)>> = drafts
            .iter()
            .enumerate()
            .map(|(this, (_, draft))| {
                let producers = draft.inputs.iter().filter_map(|(_, source)| match &source.value {
                    Source::Step { step, .. } => Some((step.as_str(), source.mark)),
                    Source::Data(_) => None,
                });
                let after = draft.after.iter().map(|after| (after.value, after.mark));
                let for_each = draft
                    .for_each
                    .as_ref()
                    .and_then(|for_each| Some((for_each.value.needs()?.as_str(), for_each.mark)));
                let mut needs: Vec<_> = producers
                    .chain(after)
                    .chain(for_each)
                    .chain(draft.when.iter().flat_map(|when| when.steps().map(|(step, mark)| (step.as_str(), mark))))
                    .filter_map(|(name, mark)| Some((drafts.get_index_of(name)?, mark)))
                    .filter(|(step, _)| *step != this)
                    .collect();
                // Two references to one step are one edge, at the place of the first.
                needs.sort();
                needs.dedup_by_key(|(step, _)| *step);
                needs
            })
            .collect();
        for (path, mark) in closing(&needs) {
            let name = |step: &usize| drafts.get_index(*step).map_or("", |(name, _)| name.as_str());
            let mut shown: Vec<&str> = path.iter().map(name).collect();
            let first = shown[0];
            if shown.len() > SHOWN {
                shown.splice(SHOWN / 2..path.len() - SHOWN / 2, ["…"]);
            }
            let message = format!("these steps wait for each other: {} → {first}", shown.join(" → "));
            self.found.error("cycle", mark, message).help("each arrow means \"needs\"; remove one of these references");
        }
    }
}

/// Returns for each edge that closes a circle its path, from the step that was entered first, and the edge's place.
fn closing(needs: &[Vec<(usize, Mark)>]) -> Vec<(Vec<usize>, Mark)> {
    const NEW: usize = usize::MAX;
    const DONE: usize = usize::MAX - 1;
    let mut depth = vec![NEW; needs.len()];
    let mut circles = Vec::new();
    let mut names_left = 100_000usize;
    for root in 0..needs.len() {
        if depth[root] != NEW {
            continue;
        }
        depth[root] = 0;
        let mut open = vec![(root, 0)];
        while let Some((step, next)) = open.last_mut() {
            let step = *step;
            let Some((need, mark)) = needs[step].get(*next) else {
                depth[step] = DONE;
                open.pop();
                continue;
            };
            *next += 1;
            match depth[*need] {
                DONE => {}
                NEW => {
                    depth[*need] = open.len();
                    open.push((*need, 0));
                }
                at => {
                    let length = open.len() - at;
                    // A dense knot of steps has very many long circles: enough of them is enough.
                    if length <= names_left {
                        names_left -= length;
                        circles.push((open[at..].iter().map(|(step, _)| *step).collect(), *mark));
                    }
                }
            }
        }
    }
    circles
}
