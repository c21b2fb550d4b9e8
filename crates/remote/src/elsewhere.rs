//! Data in buckets of others: listed, and fetched as it was listed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use prunella_model::{ListedObject, Listing, MAX_LISTED};
use prunella_objects::{Elsewhere, ObjectsError};
use prunella_sys::{Sys, blocking, mutated};
use url::Url;

use crate::bucket::{Bucket, others::Versions};
use crate::options::Options;
use crate::url::{Kind, StoreUrl};

/// The clouds, as places where data lies.
pub struct Lakes {
    sys: Sys,
    options: Options,
    fetched: AtomicU64,
}

/// How many objects are fetched at once, and how many pieces of each.
const OBJECTS_AT_ONCE: usize = 4;
const PIECES_AT_ONCE: usize = 4;
const PIECE_BYTES: u64 = 8 << 20;

/// An address of data.
struct Address {
    /// The bucket; its prefix is empty, so that names are those of the bucket.
    bucket: StoreUrl,
    /// What names begin with; of one object its name.
    place: String,
    /// Whether it is one object.
    single: bool,
    versions: Versions,
    /// The address without how one reaches it.
    plain: String,
}

impl Address {
    fn parse(text: &str) -> Result<Self, ObjectsError> {
        let (text, versions) = wanted_versions(text);
        // What an error shows of the address is without what could be a secret.
        let unfit =
            |url: String, problems: Vec<String>| ObjectsError::Unfit { store: url, message: problems.join("; ") };
        let mut bucket: StoreUrl = text.parse().map_err(|error: crate::UrlError| unfit(error.url, error.problems))?;
        if versions == Versions::Wanted && bucket.kind != Kind::S3 {
            let problem = "`versions` is for `s3://` only: Google lists them anyway".to_owned();
            return Err(unfit(bucket.to_string(), vec![problem]));
        }
        let path = text.split('?').next().unwrap_or_default();
        let single = !path.ends_with('/') && !bucket.prefix.is_empty();
        let prefix = std::mem::take(&mut bucket.prefix);
        let place = if single || prefix.is_empty() { prefix } else { format!("{prefix}/") };
        let of_the_bucket = StoreUrl {
            endpoint: None,
            region: None,
            profile: None,
            account: None,
            path_style: None,
            checksums: true,
            anonymous: false,
            ..bucket.clone()
        };
        let plain = format!("{of_the_bucket}/{place}");
        Ok(Self { bucket, place, single, versions, plain })
    }
}

/// Returns the address without the word that asks for versions, and whether it stood there.
fn wanted_versions(text: &str) -> (String, Versions) {
    let Ok(mut url) = Url::parse(text) else { return (text.to_owned(), Versions::AsListed) };
    let is_word = |key: &str, value: &str| key == "versions" && value == "true";
    if !url.query_pairs().any(|(key, value)| is_word(&key, &value)) {
        return (text.to_owned(), Versions::AsListed);
    }
    let rest: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, value)| !is_word(key, value))
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    url.set_query(None);
    if !rest.is_empty() {
        url.query_pairs_mut().extend_pairs(rest);
    }
    (url.to_string(), Versions::Wanted)
}

impl Lakes {
    /// Returns the clouds as this machine reaches them; nothing is asked yet.
    pub fn new(sys: &Sys, options: Options) -> Self {
        Self { sys: sys.clone(), options, fetched: AtomicU64::new(0) }
    }

    /// Returns how many bytes this handle has fetched.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    async fn fetch_object(&self, bucket: &Bucket, object: &ListedObject, to: &Path) -> Result<(), ObjectsError> {
        let io = |source| ObjectsError::Io { path: to.to_owned(), source };
        let pieces = object.size_bytes.div_ceil(PIECE_BYTES);
        let piece = |number: u64| {
            let offset = number * PIECE_BYTES;
            bucket.read_of_others(object, offset, PIECE_BYTES.min(object.size_bytes - offset))
        };
        let mut pieces = stream::iter(0..pieces).map(piece).buffered(PIECES_AT_ONCE);
        let (fs, path) = (self.sys.fs.clone(), to.to_owned());
        let mut file = blocking(move || fs.create_new(&path)).await.map_err(io)?;
        while let Some(bytes) = pieces.try_next().await? {
            let Some(bytes) = bytes else {
                let message = format!("`{}` was changed while it was fetched", object.name);
                return Err(ObjectsError::Unfit { store: bucket.url().to_string(), message });
            };
            let size = bytes.len() as u64;
            file = blocking(move || file.write_all(&bytes).map(|()| file)).await.map_err(io)?;
            self.fetched.fetch_add(size, Ordering::Relaxed);
        }
        blocking(move || file.sync()).await.map_err(io)
    }
}

#[async_trait]
impl Elsewhere for Lakes {
    async fn list(&self, url: &str) -> Result<Listing, ObjectsError> {
        let at = Address::parse(url)?;
        let bucket = Bucket::new(&self.sys, &at.bucket, &self.options)?;
        let most = if at.single { 0 } else { MAX_LISTED };
        let mut objects = bucket.list_of_others(&at.place, at.versions, most).await?;
        if at.single {
            objects.retain(|object| object.name == at.place);
        }
        if objects.len() > MAX_LISTED {
            let message = format!("more than {MAX_LISTED} objects lie there");
            return Err(ObjectsError::Unfit { store: at.plain, message });
        }
        for object in &mut objects {
            object.name.drain(..at.place.len());
            if mutated(103) {
                object.etag.clear();
            }
        }
        Ok(Listing::new(at.plain, at.bucket.endpoint, at.bucket.account, objects))
    }

    async fn fetch(&self, url: &str, listing: &Listing, to: &Path) -> Result<(), ObjectsError> {
        let at = Address::parse(url)?;
        let unfit = |message: String| ObjectsError::Unfit { store: at.plain.clone(), message };
        let bucket = Bucket::new(&self.sys, &at.bucket, &self.options)?;
        let folders = if at.single { BTreeSet::new() } else { folders(listing, to).map_err(unfit)? };
        let fs = self.sys.fs.clone();
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| ObjectsError::Io { path, source }
        };
        for folder in &folders {
            fs.create_dir(folder).map_err(io(folder))?;
        }
        let jobs: Vec<(ListedObject, PathBuf)> = listing
            .objects
            .iter()
            .map(|object| {
                let whole = ListedObject { name: format!("{}{}", at.place, object.name), ..object.clone() };
                (whole, if at.single { to.to_owned() } else { to.join(&object.name) })
            })
            .collect();
        let (lakes, bucket) = (self, &bucket);
        let jobs = stream::iter(jobs).map(|(object, to)| async move { lakes.fetch_object(bucket, &object, &to).await });
        jobs.buffer_unordered(OBJECTS_AT_ONCE).try_collect::<()>().await?;
        for folder in &folders {
            fs.sync_dir(folder).map_err(io(folder))?;
        }
        // What has no condition that holds, and what came meanwhile, shows here.
        match listing.changes(&self.list(url).await?) {
            None => Ok(()),
            Some(_) if mutated(104) => Ok(()),
            Some(changes) => Err(unfit(format!("it changed while it was fetched: {changes}"))),
        }
    }
}

/// Returns the folders in which the objects of a listing lie below `to`, outermost first.
fn folders(listing: &Listing, to: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let mut folders = BTreeSet::from([to.to_owned()]);
    for ListedObject { name, .. } in &listing.objects {
        let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
        if name.split('/').any(odd) {
            return Err(format!("no file can have the name of the object `{}`", name.escape_debug()));
        }
        folders.extend(to.join(name).ancestors().skip(1).take_while(|dir| *dir != to).map(Path::to_owned));
    }
    let both = listing.objects.iter().find(|object| folders.contains(&to.join(&object.name)));
    match both {
        Some(object) => Err(format!("`{}` is an object, and others lie below it: no folder holds both", object.name)),
        None => Ok(folders),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn an_address_is_all_below_it_or_one_object_and_says_nothing_of_how_it_is_reached() {
        let all = address("s3://lake/corpus/?region=eu-central-1&profile=me&endpoint=http%3A%2F%2Fx");
        assert_eq!((all.place.as_str(), all.single, all.plain.as_str()), ("corpus/", false, "s3://lake/corpus/"));
        let one = address("gs://lake/a/b.tar?anonymous=true");
        assert_eq!((one.place.as_str(), one.single, one.plain.as_str()), ("a/b.tar", true, "gs://lake/a/b.tar"));
        for bucket in ["s3://lake", "s3://lake/"] {
            let whole = address(bucket);
            assert_eq!((whole.place.as_str(), whole.single, whole.plain.as_str()), ("", false, "s3://lake/"));
        }
        let versions = address("s3://lake/x/?versions=true&region=r");
        assert_eq!((versions.versions, versions.bucket.region.as_deref()), (Versions::Wanted, Some("r")));
        assert!(Address::parse("gs://lake/x/?versions=true").is_err());
        let secret = Address::parse("s3://key:word@lake/x?secret=word").err().unwrap().to_string();
        assert!(!secret.contains("word"), "{secret}");
    }

    #[test]
    fn what_cannot_be_a_file_is_refused_before_anything_is_fetched() {
        let listing = |names: &[&str]| {
            let object = |name: &&str| ListedObject {
                name: (*name).to_owned(),
                size_bytes: 0,
                etag: "1".to_owned(),
                version: None,
                md5: None,
            };
            Listing::new("s3://b/".to_owned(), None, None, names.iter().map(object).collect())
        };
        let to = Path::new("/to");
        let good = folders(&listing(&["a/b/c", "a/d", "e"]), to).unwrap();
        let wanted = ["/to", "/to/a", "/to/a/b"].map(PathBuf::from);
        assert_eq!(good, BTreeSet::from(wanted));
        for bad in [&["../x"][..], &["a//b"], &["/a"], &["a/./b"], &["a\0"], &["a", "a/b"]] {
            assert!(folders(&listing(bad), to).is_err(), "{bad:?}");
        }
    }
}
