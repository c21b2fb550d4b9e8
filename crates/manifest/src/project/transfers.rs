//! `[transfers]`: what limits what goes to and comes from buckets.

use prunella_model::ByteSize;

use super::{
    defaults::Placed,
    hand::{Hand, Value},
};
use crate::section::Section;

/// The least memory that transfers get along with.
pub const LEAST_TRANSFER_MEMORY: ByteSize = ByteSize(64 << 20);

/// What limits transfers; what is not there is as it is built in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransferLimits {
    /// How many bytes go over the network in a second.
    pub rate: Option<Placed<ByteSize>>,
    /// How much memory they take.
    pub memory: Option<Placed<ByteSize>>,
    /// How many processors cut, hash and lay out at once.
    pub processors: Option<Placed<usize>>,
    /// How many requests run at once.
    pub requests: Option<Placed<usize>>,
}

const TRANSFERS: Section = Section { name: "`transfers`", keys: &["rate", "memory", "processors", "requests"] };

pub(super) fn transfers(hand: &mut Hand<'_>, value: &Value<'_>) -> TransferLimits {
    let mut read = TransferLimits::default();
    let Some(table) = hand.table(value, TRANSFERS.name, TRANSFERS.keys) else { return read };
    for (key, value) in hand.known(table, &TRANSFERS) {
        let (what, at) = (format!("`{key}`"), value.span());
        match key {
            "rate" => read.rate = hand.size(value, &what, ByteSize(1)).map(|size| hand.placed(size, &at)),
            "memory" => {
                read.memory = hand.size(value, &what, LEAST_TRANSFER_MEMORY).map(|size| hand.placed(size, &at));
            }
            "processors" => read.processors = hand.count(value, &what, 1).map(|number| hand.placed(number, &at)),
            _ => read.requests = hand.count(value, &what, 1).map(|number| hand.placed(number, &at)),
        }
    }
    read
}
