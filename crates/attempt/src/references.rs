//! Data by reference: the step is given its listing, which is made again before and after the program, since nobody else keeps the bytes.

use std::{path::Path, sync::Arc};

use prunella_model::{Artifact, Listing, PortName, Referenced, Source, Step};
use prunella_objects::ObjectsError;
use prunella_store::{StoreError, records::GraphRecord};
use prunella_sys::mutated;

use crate::{
    Ground,
    looks::Wanted,
    workspace::{NoWorkspace, io},
};

/// Data by reference that a step reads.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The input.
    pub(crate) input: PortName,
    /// `data.NAME`.
    source: String,
    /// Where its bytes are.
    pub(crate) at: Referenced,
    /// What they are to be.
    pinned: Listing,
    artifact: Artifact,
}

/// Returns where the bytes of an input are, if it is data by reference.
pub(crate) fn referenced<'g>(graph: &'g GraphRecord, step: &Step, input: &PortName) -> Option<&'g Referenced> {
    match step.inputs.get(input)? {
        Source::Data(data) => graph.graph.data.get(data)?.referenced.as_ref(),
        Source::Step { .. } => None,
    }
}

impl Reading {
    /// Looks whether the data is what the run is of; `laid` is its listing, laid out and verified.
    pub(crate) async fn begin(
        host: &Ground<'_>,
        input: &PortName,
        source: &str,
        (at, artifact): (&Referenced, Artifact),
        laid: &Path,
    ) -> Result<Self, NoWorkspace> {
        let text = host.sys.fs.read(laid).map_err(io(laid))?;
        let damaged = |problem| NoWorkspace::Damaged { input: input.to_string(), item: None, problem };
        let pinned = Listing::from_json(&text).map_err(damaged)?;
        let reading = Self { input: input.clone(), source: source.to_owned(), at: at.clone(), pinned, artifact };
        match reading.changes(host, Wanted::Recent).await? {
            None => Ok(reading),
            Some(_) if mutated(97) => Ok(reading),
            Some(changes) => Err(reading.refused(format!(
                "has changed since the run began: {changes}; bring the old objects back, or pin it as it is (`prunella pin`) \
                 and begin a new run"
            ))),
        }
    }

    /// Looks whether the program can have read nothing but what the run is of.
    pub(crate) async fn look_again(&self, host: &Ground<'_>) -> Result<(), NoWorkspace> {
        let wanted = if mutated(99) { Wanted::Recent } else { Wanted::New };
        match self.changes(host, wanted).await? {
            None => Ok(()),
            Some(_) if mutated(98) => Ok(()),
            Some(changes) => Err(self.refused(format!(
                "was changed while the step ran: {changes}; what the step made of it does not count. Keep others from writing \
                 there, bring the old objects back or pin the new ones (`prunella pin`), and begin a new run"
            ))),
        }
    }

    async fn changes(&self, host: &Ground<'_>, wanted: Wanted) -> Result<Option<String>, NoWorkspace> {
        let look = async { host.store.list_elsewhere(&self.at.url).await.map(Arc::new) };
        let seen = host.pool.listings.shared(host.sys, Path::new(&self.at.url), wanted, look).await;
        match seen {
            Ok(now) if now.artifact() == self.artifact => Ok(None),
            // What is pinned was seen by an older Prunella, or by one that lists other things.
            Ok(now) => Ok(Some(self.pinned.changes(&now).unwrap_or_else(|| "it is listed in another form".to_owned()))),
            Err(StoreError::Objects(
                error @ (ObjectsError::Forbidden { .. } | ObjectsError::NoBucket { .. } | ObjectsError::Unfit { .. }),
            )) => Err(self.refused(format!("cannot be listed: {error}"))),
            Err(error) => Err(NoWorkspace::Store(error)),
        }
    }

    fn refused(&self, what: String) -> NoWorkspace {
        let problem = format!("`{}`, by reference at `{}`, {what}", self.source, self.at.url);
        NoWorkspace::Changed { input: self.input.to_string(), problem }
    }
}
