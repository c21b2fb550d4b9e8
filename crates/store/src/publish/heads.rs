//! Trees in buckets: all of a tree under its digest, and a head that says which tree is meant now.
//!
//! A reader lists `heads/`, reads the first, and finds the whole tree under the digest that it names: what is there never changes
//! (I3). Heads are numbered by the order allotted at a run's start, so that a run that started earlier never wins (I5).

use futures_util::{StreamExt, TryStreamExt, stream};
use prunella_model::{Digest, EffectHow, descending};
use prunella_objects::{Exhibit, Instead};
use prunella_sys::mutated;
use serde::{Deserialize, Serialize};

use super::bucket::Exhibition;
use crate::{
    Store, StoreError,
    store::{decode, encode},
};

/// Which tree is meant: `<target>/heads/<order>-<binding>.json`; the first listed is the newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadRecord {
    /// The format.
    pub format: u32,
    /// The id of the store that the tree comes from.
    pub store: String,
    /// The pipeline whose runs publish here.
    pub pipeline: String,
    /// The run.
    pub run: String,
    /// The output, as `step.output`.
    pub output: String,
    /// The digest of the tree: it lies under `<target>/<digest>/`, and `<target>/<digest>.json` lists what is in it.
    pub tree: Digest,
    /// The size of all its files in bytes.
    pub size_bytes: u64,
    /// When, for people: milliseconds since 1970.
    pub at_ms: i64,
}

/// What is in a tree, for those who want to be sure: `<target>/<digest>.json`.
#[derive(Debug, Serialize)]
struct Contents<'a> {
    format: u32,
    files: Vec<File<'a>>,
    /// Links and what they point to; no bucket holds links.
    links: Vec<(&'a str, &'a str)>,
    directories: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct File<'a> {
    path: &'a str,
    size_bytes: u64,
    blake3: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    executable: bool,
}

/// The format of heads and of lists of contents.
pub(super) const FORMAT: u32 = 1;

/// How many files are sent beside each other.
pub(super) const ABREAST: usize = 16;

impl Store {
    /// Puts a tree and its head.
    pub(super) async fn show_by_head(&self, at: &Exhibition<'_>) -> Result<Option<EffectHow>, StoreError> {
        let own = format!("heads/{}-{}.json", descending(at.rank.0), descending(at.rank.1));
        let newest = at.showcase.list("heads/", 1).await?.into_iter().next();
        let before = match &newest {
            Some((name, _)) => self.head(at, name).await?,
            None => None,
        };
        if let Some(before) = &before
            && !at.overwrite
            && (before.store.as_str(), before.pipeline.as_str()) != (self.id(), at.effect.pipeline.as_str())
        {
            let whose = format!("pipeline `{}` of another store or of another name publishes there", before.pipeline);
            return Err(at.occupied(&whose));
        }
        if newest.as_ref().is_some_and(|(name, _)| *name < own) {
            return Ok(Some(EffectHow::Superseded));
        }
        let tree = at.stored.artifact.digest;
        let is_there = before.as_ref().is_some_and(|before| before.tree == tree);
        if !is_there && !mutated(77) {
            self.put_tree(at, &format!("{}/", tree.hex())).await?;
        }
        let head = HeadRecord {
            format: FORMAT,
            store: self.id().to_owned(),
            pipeline: at.effect.pipeline.to_string(),
            run: at.run.to_string(),
            output: format!("{}.{}", at.effect.step, at.effect.output),
            tree,
            size_bytes: at.stored.artifact.size_bytes,
            at_ms: self.sys.clock.wall_ms(),
        };
        let bytes = Exhibit::Bytes(encode(&at.key(&own)?, &head));
        let put = at.showcase.put(&own, bytes, &tree.hex(), &Instead::OfNothing).await?;
        // There already: the same was put before, by whoever did not live to say so.
        if !put && self.head(at, &own).await?.is_none_or(|there| there.tree != tree) {
            return Err(at.occupied(&format!("`{own}` is there, and names another tree")));
        }
        if mutated(77) {
            self.put_tree(at, &format!("{}/", tree.hex())).await?;
        }
        Ok(Some(match before {
            Some(_) if is_there => EffectHow::Unchanged,
            Some(_) => EffectHow::Replaced,
            None => EffectHow::Created,
        }))
    }

    /// Puts every file of a tree that is not there yet, looks whether all are, and writes the list of them.
    async fn put_tree(&self, at: &Exhibition<'_>, below: &str) -> Result<(), StoreError> {
        let manifest = self.manifest(at.stored).await?;
        let there = sizes(at, below).await?;
        let missing = manifest.files().filter(|(path, size, ..)| there.get(*path) != Some(size));
        let puts: Vec<_> = missing.map(|(path, _, digest, _)| put_file(at, below, path, digest)).collect();
        stream::iter(puts).buffer_unordered(ABREAST).try_collect::<Vec<()>>().await?;
        let there = sizes(at, below).await?;
        if let Some((path, ..)) = manifest.files().find(|(path, size, ..)| there.get(*path) != Some(size)) {
            return Err(at.occupied(&format!("`{below}{path}` was put there and is not there")));
        }
        let mut contents = Contents { format: FORMAT, files: Vec::new(), links: Vec::new(), directories: Vec::new() };
        for stored in &manifest.entries {
            let path = stored.entry.path.as_str();
            match &stored.entry.node {
                prunella_model::TreeNode::File { digest, size_bytes, executable } => contents.files.push(File {
                    path,
                    size_bytes: *size_bytes,
                    blake3: digest.hex(),
                    executable: *executable,
                }),
                prunella_model::TreeNode::Directory => contents.directories.push(path),
                prunella_model::TreeNode::Symlink { target } => contents.links.push((path, target)),
            }
        }
        let name = format!("{}.json", below.trim_end_matches('/'));
        let tree = at.stored.artifact.digest.hex();
        // There already: the same tree has the same contents.
        let bytes = Exhibit::Bytes(encode(&at.key(&name)?, &contents));
        let _put_before = at.showcase.put(&name, bytes, &tree, &Instead::OfNothing).await?;
        Ok(())
    }

    async fn head(&self, at: &Exhibition<'_>, name: &str) -> Result<Option<HeadRecord>, StoreError> {
        let Some(bytes) = at.showcase.read(name).await? else { return Ok(None) };
        let key = at.key(name)?;
        decode(&key, &bytes).map(Some).map_err(|_| at.occupied(&format!("`{name}` is there, and is no head")))
    }
}

/// Returns the names below a place, without what they have in common, and their sizes.
async fn sizes(at: &Exhibition<'_>, below: &str) -> Result<std::collections::HashMap<String, u64>, StoreError> {
    let found = at.showcase.list(below, usize::MAX).await?;
    Ok(found.into_iter().map(|(name, size)| (name[below.len()..].to_owned(), size)).collect())
}

pub(super) async fn put_file(at: &Exhibition<'_>, below: &str, path: &str, digest: &Digest) -> Result<(), StoreError> {
    let (name, file) = (format!("{below}{path}"), at.laid.join(path));
    let _put = at.showcase.put(&name, Exhibit::File(&file), &digest.hex(), &Instead::OfAnything).await?;
    Ok(())
}
