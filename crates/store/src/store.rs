//! The handle through which all records are read and written.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use prunella_model::WriterId;
use prunella_objects::{Created, Elsewhere, ObjectKey, Objects, ObjectsError, Op};
use prunella_sys::{Sys, mutated, random_hex};
use serde::{Serialize, de::DeserializeOwned};

use crate::{OtherStore, StoreError, lanes::Lanes, publish::Outside, there::Restored, transfers::Transfers};

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

    /// Lets at most so many processors cut, hash and lay out at once.
    #[must_use]
    pub fn with_processors(mut self, processors: usize) -> Self {
        self.lanes = Arc::new(Lanes::new(processors));
        self
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
    pub async fn read<T: DeserializeOwned>(&self, key: &ObjectKey) -> Result<Option<T>, StoreError> {
        match self.objects.get(key).await? {
            None => Ok(None),
            Some(bytes) => decode(key, &bytes).map(Some),
        }
    }

    /// Creates the record at `key`, unless one is there.
    ///
    /// # Errors
    /// [`prunella_objects::ObjectsError::Undecided`] if the answer got lost and reading back did not help.
    pub(crate) async fn create<T: Serialize>(&self, key: &ObjectKey, record: &T) -> Result<Created, StoreError> {
        self.put(key, encode(record)).await
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

/// Returns the record as JSON.
pub(crate) fn encode<T: Serialize>(record: &T) -> Bytes {
    serde_json::to_vec(record).expect("records have only string keys").into()
}

/// Reads a record; one of a newer format is refused rather than half understood.
pub(crate) fn decode<T: DeserializeOwned>(key: &ObjectKey, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let problem = match newer(bytes, crate::records::FORMAT) {
            Some(problem) => problem,
            None => error.to_string(),
        };
        StoreError::Record { key: key.clone(), problem }
    })
}

/// Reads a record up to a format of its own; what is wrong with one that cannot be understood is a value.
pub(crate) fn decode_up_to<T: DeserializeOwned>(
    key: &ObjectKey,
    bytes: &[u8],
    supported: u32,
    format: impl Fn(&T) -> u32,
) -> Result<Result<T, String>, StoreError> {
    let read = serde_json::from_slice::<T>(bytes).map_err(|error| error.to_string());
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
    let Head { format } = serde_json::from_slice(bytes).ok().filter(|head: &Head| head.format > supported)?;
    Some(format!("it has format {format}, this program reads up to {supported}; update prunella"))
}
