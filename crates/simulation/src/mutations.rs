//! The list of deliberate bugs (`docs/design/0026-mutations.md`): what notices each. Written beside the schedules, not before.

/// A deliberate bug.
#[derive(Debug, Clone, Copy)]
pub struct Mutation {
    /// The number at its place in the code; never used again for another.
    pub number: u32,
    /// What is wrong.
    pub what: &'static str,
    /// Where.
    pub file: &'static str,
    /// What notices it.
    pub by: By,
}

/// What notices a deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The schedules; so many are enough, with a margin.
    Schedules(u64),
    /// Tests of `crates/store/tests/protocol`, by a part of their names.
    Protocol(&'static str),
    /// The unit tests of a crate, by a part of their names.
    Unit(&'static str, &'static str),
    /// The tests of `crates/remote/tests`, by binary and a part of their names.
    Remote(&'static str, &'static str),
    /// Nothing yet, and why.
    Nothing(&'static str),
}

const fn m(number: u32, what: &'static str, file: &'static str, by: By) -> Mutation {
    Mutation { number, what, file, by }
}

use By::{Protocol, Schedules, Unit};

/// All of them.
pub const MUTATIONS: &[Mutation] = &[
    m(1, "the fence is dropped: an epoch is taken above one that is open", "store/src/key_view.rs", Schedules(50)),
    m(2, "the condemned are read before the pin is written", "store/src/pins.rs", Protocol("pair_of_places")),
    m(
        3,
        "the pin is written after the look whether the object is there",
        "store/src/pins.rs",
        Protocol("pair_of_places"),
    ),
    m(4, "the commit is written before its objects", "store/src/slots.rs", Schedules(50)),
    m(5, "a length is trusted instead of a digest", "store/src/pieces.rs", Schedules(50)),
    m(6, "damage is believed after one read", "store/src/pieces.rs", Schedules(50)),
    m(7, "the directory of a publication is not synced", "store/src/publish/file.rs", Protocol("publish::")),
    m(8, "a publication is not synced before it is shown", "store/src/publish/file.rs", Protocol("publish::")),
    m(9, "a retired commit counts as one that may be reused", "store/src/key_view.rs", Schedules(50)),
    m(10, "a damaged commit counts as one that may be reused", "store/src/key_view.rs", Schedules(50)),
    m(11, "`uses` is written after the look for `retired`", "store/src/uses.rs", Protocol("reuse::")),
    m(12, "a list of condemned objects has only the new ones", "store/src/gc/collect.rs", Protocol("gc_collectors")),
    m(13, "objects are deleted before the roots are read again", "store/src/gc/collect.rs", Protocol("pair_of_places")),
    m(
        14,
        "pins are read after commits",
        "store/src/gc/roots.rs",
        By::Nothing("the roots are read twice, and the second reading sees it"),
    ),
    m(
        15,
        "what is open is read after commits",
        "store/src/gc/roots.rs",
        By::Nothing("the roots are read twice, and the second reading sees it"),
    ),
    m(
        16,
        "the number of another collection is taken as one's own",
        "store/src/gc/collect.rs",
        By::Nothing("two collections would have to take one number in one instant, beside a newcomer"),
    ),
    m(17, "a collection's number counts without a second look", "store/src/gc/collect.rs", By::Nothing("as 16")),
    m(
        18,
        "an epoch counts without a second look",
        "store/src/claim.rs",
        By::Nothing("no number is ever free again, so that the create alone decides"),
    ),
    m(19, "a start that is there is taken as one's own without its writer", "store/src/claim.rs", Schedules(100)),
    m(20, "an end that is there is taken as one's own without its writer", "store/src/slots.rs", Schedules(50)),
    m(21, "an end of one's own is taken as the one wanted, be it a fence", "store/src/slots.rs", Protocol("fences::")),
    m(22, "an undecided create counts as done", "store/src/store.rs", Schedules(5000)),
    m(23, "an undecided commit counts as done", "store/src/store.rs", Schedules(1500)),
    m(24, "the oldest checkpoint is restored", "store/src/checkpoints.rs", Schedules(50)),
    m(25, "the look at the slot comes before the checkpoint's record", "store/src/checkpoints.rs", Schedules(1500)),
    m(26, "a checkpoint is called durable without a look at the slot", "store/src/checkpoints.rs", Schedules(100)),
    m(
        27,
        "a number whose answer was lost counts as another's",
        "store/src/numbered.rs",
        Protocol("a_run_is_numbered_once"),
    ),
    m(28, "another's number counts as one's own", "store/src/numbered.rs", Schedules(600)),
    m(30, "an effect is recorded as done before it is", "store/src/effects.rs", Schedules(50)),
    m(31, "an older run does not look for newer ones", "store/src/effects.rs", Schedules(50)),
    m(32, "the newest publication is looked for before the lock", "store/src/effects.rs", Schedules(3000)),
    m(33, "a publication takes no lock", "store/src/effects.rs", Schedules(1500)),
    m(34, "names move in the order in which runs end", "store/src/runs.rs", Schedules(50)),
    m(35, "a checkpoint's record is written before its objects", "store/src/checkpoints.rs", Schedules(50)),
    m(36, "pins hold nothing", "store/src/gc/roots.rs", Protocol("pair_of_places")),
    m(37, "what an open attempt made is not kept", "store/src/gc/roots.rs", Schedules(1000)),
    m(38, "what a run brought in is not kept before its graph", "store/src/gc/roots.rs", Schedules(1500)),
    m(39, "what the names show is not kept", "store/src/gc/roots.rs", Schedules(50)),
    m(40, "what is yet to be published is not kept", "store/src/gc/roots.rs", Protocol("publish_together")),
    m(41, "what a run uses is not kept", "store/src/gc/roots.rs", Schedules(50)),
    m(42, "budgets go on from the attempts of another run", "store/src/key_view.rs", By::Protocol("budgets_go_on")),
    m(43, "a sign of life is a lock: its silence is never death", "store/src/liveness.rs", Schedules(3000)),
    m(44, "a process number is looked up on the wrong machine", "store/src/liveness.rs", Protocol("claims::")),
    m(45, "a retired commit is not kept for those who use it", "store/src/gc/roots.rs", Schedules(500)),
    m(46, "a run that was given up is forgotten although it was resumed", "store/src/gc/retire.rs", Protocol("gc::")),
    m(47, "nobody looks whether a run was given up", "store/src/gc/retire.rs", Protocol("gc::")),
    m(48, "durable checkpoints are not kept", "store/src/gc/roots.rs", Schedules(50)),
    m(49, "a create in a bucket has no condition", "remote/src/bucket.rs", By::Remote("conformance", "")),
    m(50, "a second fresh read is served from the copy of the first", "remote/src/remote.rs", By::Remote("faults", "")),
    m(
        51,
        "a 404 that does not name the object counts as absence",
        "remote/src/answer.rs",
        Unit("prunella-remote", "answer"),
    ),
    m(52, "a 500 counts as not done", "remote/src/answer.rs", Unit("prunella-remote", "answer")),
    m(53, "no answer counts as not done", "remote/src/answer.rs", Unit("prunella-remote", "answer")),
    m(55, "names of objects are used again", "store/src/take_in.rs", Schedules(50)),
    m(56, "a collection deletes fences", "store/src/gc/close.rs", Schedules(50)),
    m(57, "a condemned object is relied on if it is still there", "store/src/pins.rs", Protocol("pair_of_places")),
    m(59, "a checkpoint is restored without a pin", "store/src/checkpoints.rs", Protocol("gc_collectors")),
    m(60, "checkpoints are listed once", "store/src/checkpoints.rs", Protocol("gc_collectors")),
    m(61, "an effect begun is done with the bytes of its beginning", "store/src/effects.rs", Schedules(500)),
    m(62, "a driver that was replaced goes on", "store/src/runs.rs", Protocol("runs::")),
    m(65, "what is not known is no hindrance to a collection", "store/src/gc/inventory.rs", Protocol("gc::")),
    m(66, "a record of a newer format is collected over", "store/src/gc/inventory.rs", Protocol("gc::")),
    m(
        67,
        "the manifest of a tree is not compared with the tree's digest",
        "store/src/lay_out.rs",
        Protocol("manifest_of_another_tree"),
    ),
    m(69, "whatever is asked for is there", "store/src/pins.rs", Schedules(50)),
    m(70, "a commit is reused although it was retired meanwhile", "store/src/guard.rs", Schedules(1500)),
];

impl Mutation {
    /// Returns its row in the table of `docs/design/0026-mutations.md`, without what was found.
    pub fn row(&self) -> String {
        let by = match self.by {
            By::Schedules(_) => "schedules".to_owned(),
            By::Protocol(tests) => format!("protocol tests, {tests}"),
            By::Unit(package, tests) => format!("unit tests of {package}, {tests}"),
            By::Remote(binary, tests) => format!("remote tests, {binary} {tests}"),
            By::Nothing(why) => format!("nothing: {why}"),
        };
        format!("| {} | {} | `crates/{}` | {} |", self.number, self.what, self.file, by.trim_end())
    }

    /// Returns the arguments of `cargo test` that run the tests which notice it; nothing if schedules do.
    pub fn test_arguments(&self) -> Option<Vec<&'static str>> {
        match self.by {
            By::Schedules(_) | By::Nothing(_) => None,
            By::Protocol(tests) => Some(vec!["--test", "protocol", tests]),
            By::Unit(package, tests) => Some(vec!["-p", package, "--lib", tests]),
            By::Remote(binary, tests) => Some(vec!["--test", binary, tests]),
        }
    }
}
