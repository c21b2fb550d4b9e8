//! The list of deliberate bugs (`docs/design/0026-mutations.md`): what notices each. Written beside the schedules, not before.

use crate::{Caught, hunt, hunt_whole};

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
    /// Schedules of whole runs; so many are enough, with a margin.
    Whole(u64),
    /// Tests of `crates/store/tests/protocol`, by a part of their names.
    Protocol(&'static str),
    /// The unit tests of a crate, by a part of their names.
    Unit(&'static str, &'static str),
    /// Other tests of a crate: its name, the file with the tests, and a part of their names.
    Tests(&'static str, &'static str, &'static str),
}

const fn m(number: u32, what: &'static str, file: &'static str, by: By) -> Mutation {
    Mutation { number, what, file, by }
}

use By::{Protocol, Schedules, Tests, Unit, Whole};

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
    m(14, "pins are read after commits", "store/src/gc/roots.rs", Protocol("gc_handovers")),
    m(15, "what is open is read after commits", "store/src/gc/roots.rs", Protocol("gc_handovers")),
    m(
        16,
        "the number of another collection is taken as one's own",
        "store/src/gc/collect.rs",
        Protocol("two_that_take_one_number"),
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
    m(42, "budgets go on from the attempts of another run", "store/src/key_view.rs", Protocol("budgets_go_on")),
    m(43, "a sign of life is a lock: its silence is never death", "store/src/liveness.rs", Schedules(3000)),
    m(44, "a process number is looked up on the wrong machine", "store/src/liveness.rs", Protocol("claims::")),
    m(45, "a retired commit is not kept for those who use it", "store/src/gc/roots.rs", Schedules(500)),
    m(46, "a run that was given up is forgotten although it was resumed", "store/src/gc/retire.rs", Protocol("gc::")),
    m(47, "nobody looks whether a run was given up", "store/src/gc/retire.rs", Protocol("gc::")),
    m(48, "durable checkpoints are not kept", "store/src/gc/roots.rs", Schedules(50)),
    m(49, "a create in a bucket has no condition", "remote/src/bucket.rs", Tests("remote", "conformance", "")),
    m(
        50,
        "a second fresh read is served from the copy of the first",
        "remote/src/remote.rs",
        Tests("remote", "faults", ""),
    ),
    m(51, "a 404 that does not name the object counts as absence", "remote/src/answer.rs", Unit("remote", "answer")),
    m(52, "a 500 counts as not done", "remote/src/answer.rs", Unit("remote", "answer")),
    m(53, "no answer counts as not done", "remote/src/answer.rs", Unit("remote", "answer")),
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
    m(71, "a file in chunks is not compared before it is used", "store/src/in_chunks.rs", Protocol("chunks::")),
    m(72, "what is condemned or gone is leaned on", "store/src/there.rs", Protocol("gc_handovers")),
    m(73, "what is made anew after damage leans on what is lost", "store/src/there.rs", Protocol("chunks::")),
    m(74, "a chunk is cut before enough was seen", "store/src/chunk.rs", Unit("store", "chunk::")),
    m(
        75,
        "in a bucket whatever is there is replaced",
        "store/src/publish/bucket.rs",
        Protocol("an_older_publication_that_stops"),
    ),
    m(
        76,
        "a place in a bucket is looked at after asking who is newest",
        "store/src/publish/bucket.rs",
        Protocol("an_older_publication_that_stops"),
    ),
    m(77, "a head is shown before its tree", "store/src/publish/heads.rs", Protocol("a_publisher_that_is_refused")),
    m(
        78,
        "a mirror is called whole before it is",
        "store/src/publish/mirror.rs",
        Protocol("a_publisher_that_is_refused"),
    ),
    m(79, "of several bindings of a step the first that is found holds", "store/src/bound.rs", Protocol("runs::")),
    m(80, "a record of many bindings counts as told by the journal", "store/src/bound.rs", Protocol("runs::")),
    m(81, "a copy of a record is not compared", "remote/src/records.rs", Unit("remote", "records::")),
    m(82, "what a link answers is believed", "objects/src/directory/parts.rs", Tests("objects", "directory", "")),
    m(
        83,
        "the directory of an object is not synced",
        "objects/src/directory/files.rs",
        Tests("objects", "directory", "a_crash_anywhere"),
    ),
    m(84, "a driver that lives is replaced", "store/src/runs.rs", Protocol("runs::")),
    m(85, "the record of another driver is taken as one's own", "store/src/runs.rs", Protocol("runs::")),
    m(
        86,
        "of newer runs only as many are looked at as there were",
        "store/src/runs.rs",
        Protocol("a_run_that_begins_while_newer"),
    ),
    m(87, "the sum of a record is not looked at", "store/src/sums.rs", Protocol("damaged_records")),
    m(
        88,
        "the next epoch is taken before a damaged end is marked",
        "store/src/key_view.rs",
        Protocol("a_damaged_end_is_marked"),
    ),
    m(
        89,
        "the driver of another machine is never watched",
        "store/src/runs.rs",
        Protocol("a_driver_of_another_machine"),
    ),
    m(90, "a copy of a manifest is believed by who verifies", "store/src/lay_out.rs", Protocol("hides_no_damage")),
    m(
        91,
        "a damaged list of condemned objects names nothing",
        "store/src/gc/collect.rs",
        Protocol("after_its_list_was_damaged"),
    ),
    m(92, "damage of a record is believed after one read", "store/src/store.rs", Protocol("changed_on_its_way")),
    m(
        93,
        "a copy does not say of which store it is",
        "attempt/src/copies.rs",
        Tests("engine", "scenes", "what_another_store_has"),
    ),
    m(
        94,
        "what is larger than the step allows is fetched",
        "attempt/src/copies.rs",
        Tests("engine", "scenes", "what_is_larger_than_the_step_allows"),
    ),
    m(
        95,
        "a commit with other outputs than the step's is copied",
        "attempt/src/copies.rs",
        Tests("engine", "scenes", "a_commit_that_says_other"),
    ),
    m(
        96,
        "an output of another kind is copied",
        "attempt/src/copies.rs",
        Tests("engine", "scenes", "a_commit_that_says_other"),
    ),
    m(
        102,
        "a commit that is marked in another store is copied",
        "store/src/guard.rs",
        Tests("engine", "scenes", "what_is_retired_or_damaged_there"),
    ),
    m(
        97,
        "a program runs on data by reference that has changed",
        "attempt/src/references.rs",
        Tests("cli", "cli_commands", "what_is_overwritten_before"),
    ),
    m(
        98,
        "what was made while data by reference changed is committed",
        "attempt/src/references.rs",
        Tests("cli", "cli_commands", "what_is_overwritten_while"),
    ),
    m(
        99,
        "the look after the program is one from before it",
        "attempt/src/references.rs",
        Tests("cli", "cli_commands", "what_is_overwritten_while"),
    ),
    m(103, "a listing has no tags", "remote/src/elsewhere.rs", Tests("cli", "cli_commands", "referencing::")),
    m(
        104,
        "what came while data was fetched is not looked for",
        "remote/src/elsewhere.rs",
        Tests("remote", "elsewhere", "what_changed_since"),
    ),
    m(
        105,
        "a lost result is made anew from data that has changed",
        "cli/src/referenced.rs",
        Tests("cli", "cli_commands", "a_lost_result_is_made_anew"),
    ),
    m(106, "an older binding of a run replaces a newer one", "store/src/effects.rs", Protocol("publish")),
    m(121, "a program that was told to end counts as one that is done", "attempt/src/run.rs", Whole(10)),
    m(122, "a run is called ended before its journal says so", "engine/src/driver.rs", Whole(10)),
    m(124, "every attempt has the whole budget", "attempt/src/end.rs", Whole(50)),
    m(125, "an attempt begins at zero although there is a checkpoint", "engine/src/carry_out.rs", Whole(10)),
    m(
        127,
        "who takes up what it waited for begins to watch anew",
        "store/src/claim.rs",
        Tests("simulation", "whole", "nobody_goes_on_with"),
    ),
    m(126, "an effect counts as done that was not even begun", "engine/src/effects.rs", Whole(10)),
];

/// Plays so many schedules with a bug, on so many threads, until one shows it.
pub type Hunt = fn(u32, u64, usize) -> Option<Caught>;

impl Mutation {
    /// Returns its row in the table of `docs/design/0026-mutations.md`, without what was found.
    pub fn row(&self) -> String {
        let by = match self.by {
            By::Schedules(_) => "schedules".to_owned(),
            By::Whole(_) => "whole runs".to_owned(),
            By::Protocol(tests) => format!("protocol tests, {tests}"),
            By::Unit(of, tests) => format!("unit tests of {of}, {tests}"),
            By::Tests(of, file, tests) => format!("{of} tests, {file} {tests}"),
        };
        format!("| {} | {} | `crates/{}` | {} |", self.number, self.what, self.file, by.trim_end())
    }

    /// Returns how many schedules are enough to notice it, and who plays them; nothing if tests notice it.
    pub fn schedules(&self) -> Option<(u64, Hunt)> {
        match self.by {
            By::Schedules(most) => Some((most, hunt)),
            By::Whole(most) => Some((most, hunt_whole)),
            By::Protocol(_) | By::Unit(..) | By::Tests(..) => None,
        }
    }

    /// Returns the tests that notice it, nothing if schedules do: their crate, the file (nothing for its unit tests), and a
    /// part of their names.
    pub fn tests(&self) -> Option<(&'static str, Option<&'static str>, &'static str)> {
        match self.by {
            By::Schedules(_) | By::Whole(_) => None,
            By::Protocol(tests) => Some(("store", Some("protocol"), tests)),
            By::Unit(of, tests) => Some((of, None, tests)),
            By::Tests(of, file, tests) => Some((of, Some(file), tests)),
        }
    }
}
