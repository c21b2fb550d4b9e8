//! A store whose operations fail where a test says so.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use prunella_objects::{
    Created, CreatedFile, Listed, ObjectKey, ObjectReader, Objects, ObjectsError, Op, Packing, TakeIn,
};

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full: it is not done.
    NoSpace,
    /// The store cannot be reached: it is not done, and that is known.
    Unreachable,
    /// It is not done, and whether it was is unknown.
    LostRequest,
    /// It is done, and whether it was is unknown.
    LostReply,
    /// An object is opened and its bytes are read wrongly; any other operation is done as ever.
    WrongBytes,
}

/// A store whose operations fail where a test says so. Clones share one plan.
#[derive(Clone)]
pub struct Faulty {
    inner: Arc<dyn Objects>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default)]
struct Plan {
    done: usize,
    faults: BTreeMap<usize, Fault>,
}

impl Faulty {
    /// Returns `inner` without a fault.
    pub fn new(inner: Arc<dyn Objects>) -> Self {
        Faulty { inner, plan: Arc::default() }
    }

    /// Lets the `n`-th operation from now on (0: the next) suffer `fault`; reading ones count, too.
    pub fn inject(&self, n: usize, fault: Fault) {
        let mut plan = self.plan();
        let at = plan.done + n;
        plan.faults.insert(at, fault);
    }

    /// Takes back the faults that have not struck, and says whether there were any.
    pub fn calm(&self) -> bool {
        !std::mem::take(&mut self.plan().faults).is_empty()
    }

    /// Returns how many operations were asked for so far.
    pub fn operations(&self) -> usize {
        self.plan().done
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Counts an operation; an error if it does not reach the store, otherwise what its answer suffers.
    fn ask(&self, at: &str) -> Result<Option<Fault>, ObjectsError> {
        let fault = {
            let mut plan = self.plan();
            plan.done += 1;
            let number = plan.done - 1;
            plan.faults.remove(&number)
        };
        let path = PathBuf::from(at);
        match fault {
            None => Ok(None),
            Some(fault @ (Fault::LostReply | Fault::WrongBytes)) => Ok(Some(fault)),
            Some(Fault::LostRequest) => Err(lost(at)),
            Some(Fault::NoSpace) => Err(ObjectsError::NoSpace { path }),
            Some(Fault::Unreachable) => {
                Err(ObjectsError::Io { path, source: std::io::ErrorKind::ConnectionRefused.into() })
            }
        }
    }
}

fn lost(at: &str) -> ObjectsError {
    match ObjectKey::new(at) {
        Ok(key) => ObjectsError::Undecided { key, message: "the answer got lost".into() },
        // A prefix: only reads have one, and for them a lost answer is no answer.
        Err(_) => ObjectsError::Io { path: at.into(), source: std::io::ErrorKind::TimedOut.into() },
    }
}

/// Asks the store, and loses the answer if that was the plan.
macro_rules! through {
    ($self:ident, $at:expr, $operation:expr) => {{
        let at = $at.to_string();
        let fault = $self.ask(&at)?;
        let answer = $operation.await?;
        if fault == Some(Fault::LostReply) { Err(lost(&at)) } else { Ok(answer) }
    }};
}

#[async_trait]
impl Objects for Faulty {
    async fn create(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, ObjectsError> {
        through!(self, key, self.inner.create(key, bytes))
    }

    async fn overwrite(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), ObjectsError> {
        through!(self, key, self.inner.overwrite(key, bytes))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        through!(self, key, self.inner.get(key))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, ObjectsError> {
        through!(self, prefix, self.inner.list(prefix, after, limit))
    }

    async fn see_keys(&self, prefix: &str, see: &mut (dyn for<'k> FnMut(&'k str) + Send)) -> Result<(), ObjectsError> {
        through!(self, prefix, self.inner.see_keys(prefix, see))
    }

    async fn read_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<(ObjectKey, Bytes)>, ObjectsError> {
        through!(self, prefix, self.inner.read_prefix(prefix, limit))
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        through!(self, key, self.inner.delete(key))
    }

    async fn batch(&self, ops: Vec<Op>) -> Result<Vec<Created>, ObjectsError> {
        let first = ops.first().map_or_else(String::new, |op| match op {
            Op::Create { key, .. } | Op::Overwrite { key, .. } => key.to_string(),
        });
        through!(self, first, self.inner.batch(ops))
    }

    async fn sync(&self) -> Result<(), ObjectsError> {
        through!(self, "", self.inner.sync())
    }

    async fn create_from_file(&self, key: &ObjectKey, source: &Path, how: TakeIn) -> Result<CreatedFile, ObjectsError> {
        through!(self, key, self.inner.create_from_file(key, source, how))
    }

    async fn local_path(&self, key: &ObjectKey) -> Result<Option<PathBuf>, ObjectsError> {
        through!(self, key, self.inner.local_path(key))
    }

    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectReader>, ObjectsError> {
        let fault = self.ask(key.as_str())?;
        let reader = self.inner.open(key).await?;
        match fault {
            Some(Fault::LostReply) => Err(lost(key.as_str())),
            Some(Fault::WrongBytes) => Ok(reader.map(|reader| {
                let size = reader.size();
                ObjectReader::new(Box::new(Garbled(reader)), size)
            })),
            _ => Ok(reader),
        }
    }

    fn packing(&self) -> Packing {
        self.inner.packing()
    }

    fn store_id(&self) -> &str {
        self.inner.store_id()
    }
}

/// Every byte comes with its last bit turned.
struct Garbled(ObjectReader);

impl Read for Garbled {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buf)?;
        buf[..n].iter_mut().for_each(|byte| *byte ^= 1);
        Ok(n)
    }
}

impl Seek for Garbled {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use prunella_objects::Memory;
    use prunella_sys::Sys;

    use super::*;

    #[tokio::test]
    async fn a_lost_reply_was_done_and_a_lost_request_was_not() {
        let store = Faulty::new(Arc::new(Memory::new(&Sys::real())));
        let key = |text: &str| ObjectKey::new(text).unwrap();
        store.inject(0, Fault::LostReply);
        store.inject(1, Fault::LostRequest);
        store.inject(2, Fault::NoSpace);
        store.inject(3, Fault::Unreachable);
        let create = async |name: &str| store.create(&key(name), "x".into()).await;
        assert!(matches!(create("a").await, Err(ObjectsError::Undecided { .. })));
        assert!(matches!(create("b").await, Err(ObjectsError::Undecided { .. })));
        assert!(matches!(create("c").await, Err(ObjectsError::NoSpace { .. })));
        assert!(matches!(create("d").await, Err(ObjectsError::Io { .. })));
        let there: Vec<_> = store.list("", None, 9).await.unwrap().into_iter().map(|l| l.key).collect();
        assert_eq!(there, [key("a")]);
        assert_eq!(store.operations(), 5);
        assert!(!store.calm(), "all of them struck");
        store.inject(0, Fault::NoSpace);
        assert!(store.calm());
        assert!(create("e").await.is_ok());
    }
}
