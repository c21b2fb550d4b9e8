//! Listings: what pins data whose bytes stay in a bucket of somebody else.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::{Artifact, ArtifactKind, Digest};

/// The version of the format of listings.
pub const LISTING_FORMAT: &str = "listing-1";

/// More objects than this are not pinned as one data set.
pub const MAX_LISTED: usize = 100_000;

/// What lies at an address, object by object, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// [`LISTING_FORMAT`].
    pub prunella: String,
    /// What stands before every name: `s3://BUCKET/PREFIX/`; of a single object its whole address.
    pub url: String,
    /// The address of the service, if it is not the cloud's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The storage account (Azure).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The objects, sorted by the bytes of their names.
    pub objects: Vec<ListedObject>,
}

/// One object of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedObject {
    /// Its name behind the listing's address; empty for a single object.
    pub name: String,
    /// How long it is.
    pub size_bytes: u64,
    /// What the service says changes with its content, without quotes.
    pub etag: String,
    /// Its version, where the bucket keeps versions; Google's generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The MD5 that the service lists, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
}

/// Data whose bytes stay where they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referenced {
    /// The address, as the pipeline file says it.
    pub url: String,
    /// How many objects there were.
    pub objects: u64,
    /// How long they were, all together.
    pub size_bytes: u64,
}

impl Listing {
    /// Returns the listing of these objects.
    pub fn new(url: String, endpoint: Option<String>, account: Option<String>, mut objects: Vec<ListedObject>) -> Self {
        objects.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        Self { prunella: LISTING_FORMAT.to_owned(), url, endpoint, account, objects }
    }

    /// Returns the text of the listing: equal listings have equal texts; an object stands on each line.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = format!("{{\"prunella\":{},\n\"url\":{}", json(&self.prunella), json(&self.url));
        for (key, value) in [("endpoint", &self.endpoint), ("account", &self.account)] {
            if let Some(value) = value {
                out.push_str(&format!(",\n\"{key}\":{}", json(value)));
            }
        }
        out.push_str(",\n\"objects\":[");
        for (at, object) in self.objects.iter().enumerate() {
            out.push_str(if at == 0 { "\n" } else { ",\n" });
            out.push_str(&json(object));
        }
        out.push_str("\n]}\n");
        out.into_bytes()
    }

    /// Returns the listing that a text holds.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let listing: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match listing.prunella == LISTING_FORMAT {
            true => Ok(listing),
            false => Err(format!("its format is `{}`, this program reads `{LISTING_FORMAT}`", listing.prunella)),
        }
    }

    /// Returns the listing as an artifact: a file with its text.
    pub fn artifact(&self) -> Artifact {
        let text = self.to_json();
        Artifact { kind: ArtifactKind::File, digest: Digest::of(&text), size_bytes: text.len() as u64 }
    }

    /// Returns how long all objects are together.
    pub fn size_bytes(&self) -> u64 {
        self.objects.iter().fold(0, |all, object| all.saturating_add(object.size_bytes))
    }

    /// Returns in a few words what is other now than it was here; nothing if the listings are equal.
    pub fn changes(&self, now: &Self) -> Option<String> {
        if self == now {
            return None;
        }
        if (&self.url, &self.endpoint, &self.account) != (&now.url, &now.endpoint, &now.account) {
            return Some(format!("it lists `{}`, and not `{}`", now.url, self.url));
        }
        let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        let (mut old, mut new) = (self.objects.iter().peekable(), now.objects.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.name.as_bytes().cmp(b.name.as_bytes()),
            };
            match order {
                Ordering::Less => removed.extend(old.next()),
                Ordering::Greater => added.extend(new.next()),
                Ordering::Equal => {
                    if let (Some(a), Some(b)) = (old.next(), new.next())
                        && a != b
                    {
                        changed.push(b);
                    }
                }
            }
        }
        let said = [("changed", changed), ("added", added), ("removed", removed)];
        let said = said.iter().filter(|(_, which)| !which.is_empty());
        Some(said.map(|(what, which)| named(which, what)).collect::<Vec<_>>().join(", "))
    }
}

/// More are counted.
const NAMED: usize = 5;

fn named(objects: &[&ListedObject], what: &str) -> String {
    let mut names: Vec<String> = objects
        .iter()
        .take(NAMED)
        .map(|object| match object.name.as_str() {
            "" => "the object".to_owned(),
            name => format!("`{}`", crate::shown(name.as_bytes())),
        })
        .collect();
    if objects.len() > NAMED {
        names.push(format!("{} more", objects.len() - NAMED));
    }
    format!("{} {what}", names.join(", "))
}

fn json(of: &impl Serialize) -> String {
    serde_json::to_string(of).expect("texts and numbers only")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, etag: &str) -> ListedObject {
        ListedObject { name: name.to_owned(), size_bytes: 3, etag: etag.to_owned(), version: None, md5: None }
    }

    fn listing(objects: &[(&str, &str)]) -> Listing {
        let objects = objects.iter().map(|(name, etag)| object(name, etag)).collect();
        Listing::new("s3://lake/corpus/".to_owned(), None, None, objects)
    }

    #[test]
    fn a_listing_is_the_same_text_in_whatever_order_it_was_seen_and_comes_back() {
        let one = listing(&[("b", "2"), ("a/x", "1"), ("é\n\"", "3")]);
        let other = listing(&[("é\n\"", "3"), ("a/x", "1"), ("b", "2")]);
        assert_eq!(one.to_json(), other.to_json());
        assert_eq!(Listing::from_json(&one.to_json()), Ok(one.clone()));
        assert_eq!(one.artifact(), other.artifact());
        assert_eq!(one.size_bytes(), 9);
        assert_eq!(
            String::from_utf8(listing(&[("a", "1")]).to_json()).expect("text"),
            "{\"prunella\":\"listing-1\",\n\"url\":\"s3://lake/corpus/\",\n\"objects\":[\n{\"name\":\"a\",\"size_bytes\":3,\"etag\":\"1\"}\n]}\n"
        );
        assert!(Listing::from_json(b"{\"prunella\":\"listing-9\",\"url\":\"\",\"objects\":[]}").is_err());
    }

    #[test]
    fn what_changed_is_named_and_what_is_more_is_counted() {
        let before = listing(&[("a", "1"), ("b", "1"), ("c", "1")]);
        assert_eq!(before.changes(&before), None);
        let now = listing(&[("a", "1"), ("c", "2"), ("d", "1")]);
        assert_eq!(before.changes(&now).as_deref(), Some("`c` changed, `d` added, `b` removed"));
        let many: Vec<String> = (0..7).map(|n| format!("n{n}")).collect();
        let now = listing(&many.iter().map(|name| (name.as_str(), "1")).collect::<Vec<_>>());
        let said = before.changes(&now).expect("all is other");
        assert_eq!(said, "`n0`, `n1`, `n2`, `n3`, `n4`, 2 more added, `a`, `b`, `c` removed");
        let mut versioned = before.clone();
        versioned.objects[0].version = Some("v2".to_owned());
        assert_eq!(before.changes(&versioned).as_deref(), Some("`a` changed"), "also if the bytes may be the same");
        let elsewhere = Listing { url: "s3://other/".to_owned(), ..before.clone() };
        assert!(before.changes(&elsewhere).expect("another place").contains("s3://other/"));
        let single = Listing::new("s3://lake/x".to_owned(), None, None, vec![object("", "1")]);
        let other = Listing::new("s3://lake/x".to_owned(), None, None, vec![object("", "2")]);
        assert_eq!(single.changes(&other).as_deref(), Some("the object changed"));
    }
}
