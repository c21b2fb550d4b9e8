//! What the program asks of its storage, and what becomes of it.

use std::path::Path;
use std::time::Duration;

/// Where an operation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// To the file system of this machine.
    Files,
    /// To a store in a directory.
    Objects,
    /// To a service, over the network.
    Network,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Looks what is there.
    Look,
    /// Reads bytes.
    Read,
    /// Makes something that was not there.
    Create,
    /// Writes bytes to what is there.
    Write,
    /// Gives another name.
    Rename,
    /// Removes.
    Remove,
    /// Makes durable.
    Sync,
}

impl Act {
    /// Returns whether it takes room.
    pub(crate) fn takes_room(self) -> bool {
        matches!(self, Self::Create | Self::Write)
    }

    /// Returns whether it only reads.
    pub(crate) fn only_reads(self) -> bool {
        matches!(self, Self::Look | Self::Read)
    }
}

/// One operation that is about to be done.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// Where it goes.
    pub place: Place,
    /// What it does.
    pub act: Act,
    /// To what: a path, the key of an object (of a batch the first, of a listing the prefix), or the path of a request.
    pub what: &'a Path,
}

/// What an operation suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// There is no room: it is not done.
    Full,
    /// The device or the service fails: it is not done.
    Error,
    /// There is no time for it now: it is not done.
    Throttled,
    /// It is not done, and nothing is heard of that.
    LostRequest,
    /// It is done, and nothing is heard of that.
    LostReply,
    /// Fewer bytes come than there are. The next time they come whole.
    Short,
}

/// What an operation meets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Met {
    /// How long it waits before anything else.
    pub wait: Duration,
    /// What it suffers then.
    pub blow: Option<Blow>,
}
