//! Every state that a crash can leave: the log up to a point, less any subset of what was not synced.

use std::collections::{BTreeMap, BTreeSet};

use prunella_sys::{Random, SeededRandom};

use crate::crash_fs::{CrashFs, Effect, Node, apply};

/// How many states of one crash point are shown.
#[derive(Debug, Clone, Copy)]
pub struct CrashLimits {
    /// The most states (at least 2): if there are more, this many are drawn, among them nothing lost and everything lost,
    /// then each single thing lost or kept.
    pub images: usize,
    /// What they are drawn by.
    pub seed: u64,
}

impl Default for CrashLimits {
    fn default() -> Self {
        CrashLimits { images: 256, seed: 1 }
    }
}

/// The states that a crash can leave at one point.
pub struct Images {
    base: Vec<Node>,
    effects: Vec<Effect>,
    transactions: Vec<Vec<u8>>,
    reflinks: bool,
    choices: Vec<Choice>,
    /// The states to show: for every choice the alternative taken.
    picks: std::vec::IntoIter<Vec<usize>>,
}

/// Something that a crash decides.
enum Choice {
    /// Whether the effect at this index, a change of names, is on the disk: 0 yes, 1 no.
    Names(usize),
    /// What a file holds: the alternative's number chooses among these.
    Content { file: usize, alternatives: Vec<Vec<u8>> },
    /// How many of the last transactions, none of them synced, are there: 0 all, 1 none, else one less than its number.
    Transactions(usize),
}

impl Choice {
    fn alternatives(&self) -> usize {
        match self {
            Self::Names(_) => 2,
            Self::Content { alternatives, .. } => alternatives.len(),
            Self::Transactions(loose) => loose + 1,
        }
    }
}

impl CrashFs {
    /// Returns the states that a crash after the first `point` operations can leave, each as a file system of its own.
    ///
    /// # Panics
    /// If there are not that many operations.
    pub fn images_at(&self, point: usize) -> Images {
        self.images_within(point, CrashLimits::default())
    }

    /// As [`CrashFs::images_at`], with chosen limits.
    pub fn images_within(&self, point: usize, limits: CrashLimits) -> Images {
        let state = self.state();
        let effects: Vec<Effect> = state.log[..point].iter().flatten().cloned().collect();
        let choices = choices(&state.base, &effects);
        let picks = picks(&choices, limits);
        let noted =
            effects.iter().filter_map(|e| if let Effect::Transaction(note) = e { Some(note.clone()) } else { None });
        Images {
            base: state.base.clone(),
            transactions: state.base_transactions.iter().cloned().chain(noted).collect(),
            effects,
            reflinks: state.reflinks(),
            choices,
            picks: picks.into_iter(),
        }
    }
}

impl Iterator for Images {
    type Item = CrashFs;

    fn next(&mut self) -> Option<CrashFs> {
        let pick = self.picks.next()?;
        let mut lost = BTreeSet::new();
        let mut contents = BTreeMap::new();
        let mut transactions = self.transactions.len();
        for (choice, &alternative) in self.choices.iter().zip(&pick) {
            match choice {
                Choice::Names(effect) if alternative == 1 => {
                    lost.insert(*effect);
                }
                Choice::Names(_) => {}
                Choice::Transactions(loose) => {
                    let kept = match alternative {
                        0 => *loose,
                        other => other - 1,
                    };
                    transactions = self.transactions.len() - loose + kept;
                }
                Choice::Content { file, alternatives } => {
                    contents.insert(*file, &alternatives[alternative]);
                }
            }
        }
        let mut nodes = self.base.clone();
        for (index, effect) in self.effects.iter().enumerate() {
            if !lost.contains(&index) {
                apply(&mut nodes, effect);
            }
        }
        for (file, content) in contents {
            nodes[file] = Node::File(content.clone());
        }
        Some(CrashFs::from_nodes(nodes, self.transactions[..transactions].to_vec(), self.reflinks))
    }
}

/// Finds what was not synced.
fn choices(base: &[Node], effects: &[Effect]) -> Vec<Choice> {
    let mut found = Vec::new();
    let mut unsynced: BTreeSet<usize> = BTreeSet::new();
    for (index, effect) in effects.iter().enumerate() {
        let later = &effects[index + 1..];
        match effect {
            // A group of changes is one entry of the file system's own log: durable with any of its directories.
            Effect::Names(changes) => {
                let synced = |e: &Effect| matches!(e, Effect::SyncDir(dir) if changes.iter().any(|c| c.dir == *dir));
                if !changes.is_empty() && !later.iter().any(synced) {
                    found.push(Choice::Names(index));
                }
            }
            Effect::Write { file, .. }
                if !later.iter().any(|e| matches!(e, Effect::SyncFile(synced) if synced == file)) =>
            {
                unsynced.insert(*file);
            }
            _ => {}
        }
    }
    let loose = loose(effects);
    if loose > 0 {
        found.push(Choice::Transactions(loose));
    }
    for file in unsynced {
        found.push(Choice::Content { file, alternatives: contents(base, effects, file) });
    }
    found
}

/// Counts the transactions after the last sync of all.
fn loose(effects: &[Effect]) -> usize {
    let since = effects.iter().rposition(|e| matches!(e, Effect::SyncTransactions)).map_or(0, |at| at + 1);
    effects[since..].iter().filter(|e| matches!(e, Effect::Transaction(_))).count()
}

/// Returns what an unsynced file can hold: all, only what was synced, a part, or the right length of zeros.
fn contents(base: &[Node], effects: &[Effect], file: usize) -> Vec<Vec<u8>> {
    let mut all = match base.get(file) {
        Some(Node::File(content)) => content.clone(),
        _ => Vec::new(),
    };
    let mut synced = all.len();
    for effect in effects {
        match effect {
            Effect::Write { file: written, bytes } if *written == file => all.extend_from_slice(bytes),
            Effect::SyncFile(done) if *done == file => synced = all.len(),
            _ => {}
        }
    }
    let part = all[..synced + (all.len() - synced) / 2].to_vec();
    let mut zeros = all.clone();
    zeros[synced..].fill(0);
    let old = all[..synced].to_vec();
    let mut alternatives = vec![all, old];
    for other in [part, zeros] {
        if !alternatives.contains(&other) {
            alternatives.push(other);
        }
    }
    alternatives
}

/// Chooses the states: all of them, or a sample.
fn picks(choices: &[Choice], limits: CrashLimits) -> Vec<Vec<usize>> {
    let counts: Vec<usize> = choices.iter().map(Choice::alternatives).collect();
    let total = counts.iter().try_fold(1_usize, |product, &count| product.checked_mul(count));
    if let Some(total) = total.filter(|&total| total <= limits.images) {
        return (0..total)
            .map(|mut number| {
                let digit = |&count: &usize| {
                    let digit = number % count;
                    number /= count;
                    digit
                };
                counts.iter().map(digit).collect()
            })
            .collect();
    }
    let (whole, bare) = (vec![0; counts.len()], vec![1; counts.len()]);
    let mut picks = BTreeSet::from([whole.clone(), bare.clone()]);
    // Most mistakes show when one thing alone is lost, or alone is kept.
    for (start, other) in [(&whole, 1), (&bare, 0)] {
        for index in 0..counts.len() {
            if picks.len() < limits.images {
                let mut pick = start.clone();
                pick[index] = other;
                picks.insert(pick);
            }
        }
    }
    let random = SeededRandom::new(limits.seed);
    while picks.len() < limits.images {
        let drawn = |&count: &usize| (random.u64() % count as u64) as usize;
        picks.insert(counts.iter().map(drawn).collect());
    }
    picks.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::path::Path;

    use prunella_sys::Fs;

    use super::*;

    fn states(fs: &CrashFs, path: &str) -> BTreeSet<Option<Vec<u8>>> {
        fs.images_at(fs.crash_points()).map(|image| image.read(Path::new(path)).ok()).collect()
    }

    fn some(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    #[test]
    fn an_unsynced_file_can_be_absent_empty_torn_zeroed_or_whole() {
        let fs = CrashFs::new();
        fs.create_new(Path::new("/f")).unwrap().write_all(b"abcd").unwrap();
        assert_eq!(states(&fs, "/f"), BTreeSet::from([None, some(""), some("ab"), some("abcd"), some("\0\0\0\0")]));
    }

    #[test]
    fn content_and_name_are_durable_only_after_both_syncs() {
        let fs = CrashFs::new();
        let mut file = fs.create_new(Path::new("/f")).unwrap();
        file.write_all(b"abcd").unwrap();
        file.sync().unwrap();
        assert_eq!(states(&fs, "/f"), BTreeSet::from([None, some("abcd")]), "the name is not synced");
        fs.sync_dir(Path::new("/")).unwrap();
        assert_eq!(states(&fs, "/f"), BTreeSet::from([some("abcd")]));
        let names_only = CrashFs::new();
        names_only.create_new(Path::new("/f")).unwrap().write_all(b"abcd").unwrap();
        names_only.sync_dir(Path::new("/")).unwrap();
        assert!(states(&names_only, "/f").contains(&some("")), "the content is not synced");
        assert!(!states(&names_only, "/f").contains(&None));
    }

    #[test]
    fn a_file_in_a_directory_that_was_lost_is_lost() {
        let fs = CrashFs::new();
        fs.create_dir(Path::new("/d")).unwrap();
        let mut file = fs.create_new(Path::new("/d/f")).unwrap();
        file.write_all(b"x").unwrap();
        file.sync().unwrap();
        fs.sync_dir(Path::new("/d")).unwrap();
        assert_eq!(states(&fs, "/d/f"), BTreeSet::from([None, some("x")]));
        fs.sync_dir(Path::new("/")).unwrap();
        assert_eq!(states(&fs, "/d/f"), BTreeSet::from([some("x")]));
    }

    #[test]
    fn a_rename_in_one_directory_is_atomic_and_between_two_it_is_not() {
        let paths = |from: &str, to: &str| -> BTreeSet<(bool, bool)> {
            let fs = CrashFs::new();
            fs.create_dir(Path::new("/d")).unwrap();
            fs.create_new(Path::new(from)).unwrap();
            fs.settle();
            fs.rename(Path::new(from), Path::new(to)).unwrap();
            let there = |image: &CrashFs, path: &str| image.read(Path::new(path)).is_ok();
            fs.images_at(1).map(|image| (there(&image, from), there(&image, to))).collect()
        };
        assert_eq!(paths("/a", "/b"), BTreeSet::from([(true, false), (false, true)]));
        assert_eq!(paths("/a", "/d/b").len(), 4);
    }

    #[test]
    fn a_synced_log_keeps_its_beginning_whatever_happens_to_its_end() {
        let fs = CrashFs::new();
        let mut log = fs.append(Path::new("/log")).unwrap();
        log.write_all(b"one ").unwrap();
        log.sync().unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        log.write_all(b"two ").unwrap();
        assert!(states(&fs, "/log").iter().all(|content| content.as_ref().unwrap().starts_with(b"one ")));
        assert!(states(&fs, "/log").len() > 2);
    }

    #[test]
    fn a_removal_that_was_not_synced_can_come_back() {
        let fs = CrashFs::new();
        fs.create_new(Path::new("/f")).unwrap();
        fs.settle();
        fs.remove_file(Path::new("/f")).unwrap();
        assert_eq!(states(&fs, "/f"), BTreeSet::from([None, some("")]));
        fs.sync_dir(Path::new("/")).unwrap();
        assert_eq!(states(&fs, "/f"), BTreeSet::from([None]));
    }

    #[test]
    fn a_large_number_of_states_is_sampled_with_both_ends_and_reproducibly() {
        let fs = CrashFs::new();
        for n in 0..40 {
            fs.create_new(Path::new(&format!("/{n:02}"))).unwrap();
        }
        let limits = CrashLimits { images: 50, seed: 3 };
        let drawn = || -> Vec<usize> { fs.images_within(40, limits).map(|image| image.paths().len()).collect() };
        assert!(drawn().len() <= 50 && drawn().contains(&0) && drawn().contains(&40));
        assert_eq!(drawn(), drawn());
    }

    #[test]
    fn transactions_stand_in_the_order_of_operations() {
        let fs = CrashFs::new();
        fs.create_new(Path::new("/f")).unwrap();
        fs.transaction(&|| b"row".to_vec());
        fs.sync_transactions(Path::new("/log"), false).unwrap();
        assert!(fs.images_at(1).all(|image| image.transactions().is_empty()));
        assert!(fs.images_at(3).all(|image| image.transactions() == [b"row".to_vec()]));
    }

    #[test]
    fn of_transactions_that_were_not_synced_the_last_ones_can_be_lost() {
        let fs = CrashFs::new();
        for row in ["a", "b", "c", "d"] {
            fs.transaction(&|| row.as_bytes().to_vec());
            if row == "b" {
                fs.sync_transactions(Path::new("/log"), false).unwrap();
            }
        }
        let left: BTreeSet<Vec<u8>> = fs.images_at(5).map(|image| image.transactions().concat()).collect();
        assert_eq!(left, BTreeSet::from(["ab", "abc", "abcd"].map(|rows| rows.as_bytes().to_vec())));
    }

    #[test]
    fn an_operation_that_fails_does_nothing_and_the_next_works() {
        let fs = CrashFs::new();
        fs.fail_once_after(1, std::io::ErrorKind::StorageFull);
        let mut file = fs.create_new(Path::new("/f")).unwrap();
        assert_eq!(file.write(b"x").unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        file.write_all(b"y").unwrap();
        assert_eq!(fs.read(Path::new("/f")).unwrap(), b"y");
    }
}
