//! Reading a file in chunks at once: its bytes go on as they come, while they are warm, and are compared when all were there.

use std::{collections::VecDeque, io, ops::Range};

use bytes::Bytes;
use prunella_model::Hasher;
use prunella_objects::{Freshness, ObjectKey, ObjectsError};
use prunella_sys::{blocking, mutated};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    Store, StoreError,
    in_chunks::{AHEAD, Ahead, InChunks, Out},
    lanes::Room,
    pieces::Source,
};

/// A range on its way: its size, and its bytes as they come; no more than that size of them wait, and its room is held until they
/// were taken.
struct Coming {
    size: usize,
    bytes: UnboundedReceiver<Bytes>,
    fetch: Ahead<Room>,
}

/// What has been handed on of a file, and to whom.
struct Hand {
    hasher: Hasher,
    out: Out,
}

impl Hand {
    /// Hands on what comes, and returns how much came.
    fn on(&mut self, bytes: &mut UnboundedReceiver<Bytes>) -> io::Result<usize> {
        let mut came = 0;
        while let Some(piece) = bytes.blocking_recv() {
            came += piece.len();
            self.hasher.update(&piece);
            (self.out.write)(&piece)?;
        }
        Ok(came)
    }
}

impl Store {
    /// Gives the bytes of a file to `out`, in order, and says then whether they are the file's; what is wrong is not read again.
    ///
    /// Every byte is hashed once: that is enough where nobody looks before the end.
    pub(crate) async fn read_at_once(&self, source: Source, file: &InChunks, out: Out) -> Result<bool, StoreError> {
        let mut left = file.ranges();
        let mut ahead: VecDeque<Coming> = VecDeque::new();
        let mut hand = Hand { hasher: Hasher::new(), out };
        loop {
            while ahead.len() < AHEAD && !left.is_empty() {
                let Some(room) = self.lanes.down(!ahead.is_empty()).await else { break };
                let Some(chunks) = left.pop_front() else { break };
                let (_, _, size) = file.stretch(chunks.clone());
                let (to, bytes) = unbounded_channel();
                let (store, file) = (self.clone(), file.clone());
                let fetch = async move { store.pour(source, &file, chunks, to).await.map(|()| room) };
                ahead.push_back(Coming { size, bytes, fetch: Ahead::begin(fetch) });
            }
            let Some(Coming { size, mut bytes, fetch }) = ahead.pop_front() else { break };
            let handed = blocking(move || {
                let handed = hand.on(&mut bytes);
                (hand, handed)
            });
            let came;
            (hand, came) = handed.await;
            let came = came.map_err(StoreError::io(&hand.out.about))?;
            let _room = fetch.end().await?;
            if came != size {
                return Ok(false);
            }
        }
        Ok(hand.hasher.finish() == file.digest || mutated(71))
    }

    /// Gives neighbouring chunks to whoever waits for them; what is absent or damaged does not come.
    async fn pour(
        &self,
        source: Source,
        file: &InChunks,
        chunks: Range<usize>,
        to: UnboundedSender<Bytes>,
    ) -> Result<(), StoreError> {
        // Who does not wait any more needs nothing.
        let take = |bytes| drop(to.send(bytes));
        let freshness = match source {
            Source::Passing => Freshness::CopyWillDo,
            Source::Store => Freshness::Fresh,
            Source::Nearest => {
                self.fetch(source, file, chunks).await?.pour(&take);
                return Ok(());
            }
        };
        let (object, offset, size) = file.stretch(chunks);
        let Ok(key) = ObjectKey::new(object) else { return Ok(()) };
        match self.objects.pour_range(&key, offset, size, freshness, &take).await {
            Ok(_) | Err(ObjectsError::Corrupt { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
