//! How fast a bucket answers.

use bytes::Bytes;
use prunella_objects::{Figures, ObjectsError};

use super::Scene;

/// How often each is measured.
const TIMES: usize = 9;

/// How much is sent there and back.
const BULK_BYTES: usize = 16 << 20;

impl Scene<'_> {
    pub(super) async fn figures(&self) -> Result<Figures, ObjectsError> {
        let (mut put, mut get, mut list) = (Vec::new(), Vec::new(), Vec::new());
        let clock = &self.sys.clock;
        for n in 0..TIMES {
            let key = self.key(&format!("figures/{n}"));
            let begun = clock.monotonic();
            let _new = self.bucket.put_new(&key, Bytes::from_static(b"a record")).await?;
            let written = clock.monotonic();
            let _there = self.bucket.get(&key, 1 << 10).await?;
            let read = clock.monotonic();
            let _all = self.bucket.list(&format!("{}/figures/", self.base), None, 10).await?;
            put.push(written - begun);
            get.push(read - written);
            list.push(clock.monotonic() - read);
        }
        // Random, so that nobody on the way makes less of it.
        let mut bulk = vec![0; BULK_BYTES];
        self.sys.random.fill(&mut bulk);
        let (key, bulk) = (self.key("bulk"), Bytes::from(bulk));
        let begun = clock.monotonic();
        let _new = self.bucket.put_new(&key, bulk).await?;
        let sent = clock.monotonic();
        let _there = self.bucket.get(&key, BULK_BYTES as u64).await?;
        let back = clock.monotonic() - sent;
        Ok(Figures::of([put, get, list], BULK_BYTES, sent - begun, back))
    }
}
