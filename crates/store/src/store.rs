//! The handle through which all records are read and written.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use prunella_model::WriterId;
use prunella_objects::{Created, Elsewhere, Frames, Freshness, MAX_GET_BYTES, ObjectKey, Objects, ObjectsError, Op};
use prunella_sys::{Sys, mutated, random_hex};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    OtherStore, StoreError,
    lanes::Lanes,
    publish::Outside,
    sums::{Sum, check, seal},
    there::Restored,
    transfers::Transfers,
};

/// The protocol over some backend; cheap to clone.
///
/// One handle has one writer id: a record that carries it is known as one's own after a lost reply.
#[derive(Clone)]
pub struct Store {
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) sys: Sys,
    pub(crate) writer: WriterId,
    pub(crate) lanes: Arc<Lanes>,
    /// What is needed to publish into buckets.
    pub(crate) outside: Option<Arc<Outside>>,
    /// Who lists data in buckets of others.
    pub(crate) elsewhere: Option<Arc<dyn Elsewhere>>,
    /// Stores of others, from which commits are copied.
    pub(crate) others: Arc<[OtherStore]>,
    pub(crate) transfers: Arc<Transfers>,
    pub(crate) restored: Arc<Restored>,
}

impl Store {
    /// Returns a handle with a fresh writer id.
    pub fn new(objects: Arc<dyn Objects>, sys: Sys) -> Self {
        let writer = fresh_writer(&sys);
        let lanes = Arc::new(Lanes::new(sys.machine.cpu_count()));
        let (transfers, restored) = (Arc::default(), Arc::default());
        let others = Vec::new().into();
        Self { objects, sys, writer, lanes, transfers, restored, outside: None, elsewhere: None, others }
    }

    /// Returns a handle with a writer id of its own: what it leaves unfinished carries its name.
    pub(crate) fn another(&self) -> Self {
        Self { writer: fresh_writer(&self.sys), ..self.clone() }
    }

    /// Lets at most so many processors cut, hash and lay out at once, and transfers take at most so many bytes of memory; without
    /// a number as many as there are, and 256 MiB.
    #[must_use]
    pub fn limited(mut self, processors: Option<usize>, memory: Option<u64>) -> Self {
        let processors = processors.unwrap_or_else(|| self.sys.machine.cpu_count());
        self.lanes = Arc::new(Lanes::within(processors, memory.unwrap_or(u64::MAX)));
        self
    }

    /// Returns a handle that counts its transfers by itself, and is otherwise the same.
    #[must_use]
    pub fn counting(&self) -> Self {
        Self { transfers: Arc::default(), ..self.clone() }
    }

    /// Returns how far the transfers of this handle and its clones are.
    pub fn transfers(&self) -> &Arc<Transfers> {
        &self.transfers
    }

    /// Returns the backend.
    pub fn objects(&self) -> &Arc<dyn Objects> {
        &self.objects
    }

    /// Makes durable what this store was answered and what it read (protocol: Durability points).
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the disk did not take it; nothing may be called durable any more then.
    pub async fn sync(&self) -> Result<(), StoreError> {
        Ok(self.objects.sync().await?)
    }

    /// Returns the machine.
    pub fn sys(&self) -> &Sys {
        &self.sys
    }

    /// Returns this handle's writer id.
    pub fn writer(&self) -> &WriterId {
        &self.writer
    }

    /// Returns the store's id.
    pub fn id(&self) -> &str {
        self.objects.store_id()
    }

    pub(crate) fn random(&self) -> String {
        random_hex(&*self.sys.random, 16)
    }

    /// Returns the record at `key`, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Record`] if it is there and cannot be understood.
    /// [`StoreError::DamagedRecord`] if it is not what was written, also past every copy.
    pub async fn read<T: DeserializeOwned>(&self, key: &ObjectKey) -> Result<Option<T>, StoreError> {
        match self.objects.get(key).await? {
            None => Ok(None),
            Some(bytes) => decode(key, &self.sound(key, bytes).await?).map(Some),
        }
    }

    /// Returns these bytes of a record, or, if they are not what was written, what the store has now past every copy: damage
    /// is believed only of that (protocol: Slots, Damage).
    pub(crate) async fn sound(&self, key: &ObjectKey, bytes: Bytes) -> Result<Bytes, StoreError> {
        if is_whole(key, &bytes) || mutated(92) {
            return Ok(bytes);
        }
        let size = usize::try_from(MAX_GET_BYTES).unwrap_or(usize::MAX);
        // One that was deleted meanwhile is what it was.
        Ok(self.objects.read_range(key, 0, size, Freshness::Fresh).await?.map_or(bytes, Frames::into_bytes))
    }

    /// Returns records that a listing has just shown, in order; nothing for those deleted meanwhile.
    pub(crate) async fn read_listed(&self, keys: &[ObjectKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut found = self.objects.read_listed(keys).await?;
        for (key, bytes) in keys.iter().zip(&mut found) {
            if let Some(there) = bytes.take() {
                *bytes = Some(self.sound(key, there).await?);
            }
        }
        Ok(found)
    }

    /// Returns up to `limit` records whose key begins with `prefix`, in byte order.
    pub(crate) async fn records(&self, prefix: &str, limit: usize) -> Result<Vec<(ObjectKey, Bytes)>, StoreError> {
        self.all_sound(self.objects.read_prefix(prefix, limit).await?).await
    }

    /// Returns these records, each as [`Store::sound`] does.
    pub(crate) async fn all_sound(
        &self,
        mut records: Vec<(ObjectKey, Bytes)>,
    ) -> Result<Vec<(ObjectKey, Bytes)>, StoreError> {
        for (key, bytes) in &mut records {
            *bytes = self.sound(key, std::mem::take(bytes)).await?;
        }
        Ok(records)
    }

    /// Creates the record at `key`, unless one is there.
    ///
    /// # Errors
    /// [`prunella_objects::ObjectsError::Undecided`] if the answer got lost and reading back did not help.
    pub(crate) async fn create<T: Serialize>(&self, key: &ObjectKey, record: &T) -> Result<Created, StoreError> {
        self.put(key, encode(key, record)).await
    }

    /// Writes a hint, which may be lost.
    pub(crate) async fn hint<T: Serialize>(&self, key: &ObjectKey, record: &T) -> Result<(), StoreError> {
        Ok(self.objects.overwrite(key, encode(key, record)).await?)
    }

    /// Returns the hint at `key`; one that was damaged is lost.
    pub(crate) async fn hinted<T: DeserializeOwned>(&self, key: &ObjectKey) -> Result<Option<T>, StoreError> {
        match self.read(key).await {
            Err(StoreError::DamagedRecord { .. }) => Ok(None),
            read => read,
        }
    }

    /// Creates the object at `key`, unless one is there.
    ///
    /// A create whose answer got lost is made again with the same bytes: what is there then is one's own, or another's.
    pub(crate) async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        match settled(|| self.objects.create(key, bytes.clone())).await {
            Err(StoreError::Objects(ObjectsError::Undecided { .. })) if mutated(22) => Ok(Created::New),
            created => created,
        }
    }

    /// Creates the object as [`Store::put`], and keeps a copy on this machine where copies are kept.
    pub(crate) async fn put_and_keep(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        settled(|| self.objects.create_and_keep(key, bytes.clone())).await
    }

    /// Creates objects in order; made again with the same bytes if the answer got lost.
    pub(crate) async fn put_all(&self, ops: Vec<Op>) -> Result<Vec<Created>, StoreError> {
        match settled(|| self.objects.batch(ops.clone())).await {
            Err(StoreError::Objects(ObjectsError::Undecided { .. })) if mutated(23) => {
                Ok(vec![Created::New; ops.len()])
            }
            created => created,
        }
    }

    /// Creates the object and looks what stands under `prefix`; made again with the same bytes if the answer got lost.
    pub(crate) async fn put_and_look(
        &self,
        key: &ObjectKey,
        bytes: Bytes,
        prefix: &str,
    ) -> Result<(Created, Vec<(ObjectKey, Bytes)>), StoreError> {
        settled(|| self.objects.create_and_look(key, bytes.clone(), prefix)).await
    }
}

fn fresh_writer(sys: &Sys) -> WriterId {
    let mut bits = [0; 16];
    sys.random.fill(&mut bits);
    WriterId::from_random(u128::from_le_bytes(bits))
}

/// How often an undecided create is made again before the caller has to leave.
const LOST_REPLIES: usize = 3;

/// Repeats a create as long as its answer is lost: doing it twice is harmless, guessing is not (protocol: Store layout).
async fn settled<T, F: Future<Output = Result<T, ObjectsError>>>(create: impl Fn() -> F) -> Result<T, StoreError> {
    for _ in 0..LOST_REPLIES {
        match create().await {
            Err(ObjectsError::Undecided { .. }) => {}
            decided => return Ok(decided?),
        }
    }
    Ok(create().await?)
}

/// Returns the record as it stands at its key: JSON, with its sum at the end.
pub(crate) fn encode<T: Serialize>(key: &ObjectKey, record: &T) -> Bytes {
    seal(key, serde_json::to_vec(record).expect("records have only string keys"))
}

/// Reads a record; one that is not what was written is damaged, one of a newer format is refused rather than half understood.
pub(crate) fn decode<T: DeserializeOwned>(key: &ObjectKey, bytes: &[u8]) -> Result<T, StoreError> {
    let sum = check(key, bytes);
    if sum == Sum::Broken {
        return Err(damaged(key, "its bytes are not those that its sum was made of"));
    }
    understood(bytes).map_err(|error| {
        let problem = match newer(bytes, crate::records::FORMAT) {
            Some(problem) => problem,
            // Whole, and of no newer format: a later program wrote into it what this one does not know.
            None if sum == Sum::Holds => format!("{error}; update prunella"),
            None => return damaged(key, &error.to_string()),
        };
        StoreError::Record { key: key.clone(), problem }
    })
}

/// Reads what is left of a record of which parts were left out: nothing is known of its sum.
pub(crate) fn understood<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes)
}

/// Returns whether these bytes can be what was written at this key.
pub(crate) fn is_whole(key: &ObjectKey, bytes: &[u8]) -> bool {
    match check(key, bytes) {
        Sum::Holds => true,
        Sum::Broken => false,
        // What was cut has no end.
        Sum::None => serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok(),
    }
}

fn damaged(key: &ObjectKey, problem: &str) -> StoreError {
    StoreError::DamagedRecord { key: key.clone(), problem: problem.to_owned() }
}

/// Reads a record up to a format of its own; what is wrong with one that cannot be understood is a value.
pub(crate) fn decode_up_to<T: DeserializeOwned>(
    key: &ObjectKey,
    bytes: &[u8],
    supported: u32,
    format: impl Fn(&T) -> u32,
) -> Result<Result<T, String>, StoreError> {
    if check(key, bytes) == Sum::Broken {
        return Ok(Err("its bytes are not those that its sum was made of".to_owned()));
    }
    let read = understood::<T>(bytes).map_err(|error| error.to_string());
    if read.as_ref().is_ok_and(|record| format(record) <= supported) {
        return Ok(read);
    }
    match newer(bytes, supported) {
        Some(problem) => Err(StoreError::Record { key: key.clone(), problem }),
        None => Ok(read),
    }
}

/// Returns what to do about a record of a newer format than the supported one; nothing if it is not of one.
fn newer(bytes: &[u8], supported: u32) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    let Head { format } = understood(bytes).ok().filter(|head: &Head| head.format > supported)?;
    Some(format!("it has format {format}, this program reads up to {supported}; update prunella"))
}
