//! Data of others: listed without being read, fetched as it was listed.
#![allow(clippy::disallowed_methods)]

mod place;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prunella_bucketkit::Fault;
use prunella_model::Listing;
use prunella_objects::{Elsewhere, ObjectsError};
use prunella_remote::Lakes;

use place::{Place, Server};

/// A bucket with data of somebody else.
struct Lake {
    place: Place,
    out: tempfile::TempDir,
}

impl Lake {
    fn each() -> [Self; 2] {
        Place::each().map(Self::of)
    }

    fn of(place: Place) -> Self {
        let lake = Self { place, out: tempfile::tempdir().unwrap() };
        for (name, text) in
            [("corpus/a.txt", "one"), ("corpus/deep/b.txt", "two"), ("corpus/empty", ""), ("corpusx", "no")]
        {
            lake.put(name, text);
        }
        lake
    }

    fn put(&self, name: &str, text: &str) {
        self.place.server.objects().put("bucket", name, text.to_owned()).unwrap();
    }

    fn lakes(&self) -> Lakes {
        Lakes::new(&self.place.sys, self.place.options())
    }

    /// An address below the bucket; what follows the name is kept, be it a slash.
    fn url(&self, name: &str) -> String {
        let url = self.place.url("x").to_string();
        url.replacen("/x?", &format!("/{name}?"), 1)
    }

    async fn list(&self, name: &str) -> Listing {
        self.lakes().list(&self.url(name)).await.unwrap()
    }

    fn to(&self) -> PathBuf {
        self.out.path().join("to")
    }
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.objects.iter().map(|object| object.name.as_str()).collect()
}

#[tokio::test]
async fn a_listing_says_what_is_there_and_reads_none_of_it() {
    for lake in Lake::each() {
        let asked = lake.place.server.faults().asked();
        let all = lake.list("corpus/").await;
        assert_eq!(lake.place.server.faults().asked() - asked, 1, "one request");
        assert_eq!(names(&all), ["a.txt", "deep/b.txt", "empty"]);
        assert!(all.url.ends_with("://bucket/corpus/"), "{}", all.url);
        assert!(all.objects.iter().all(|object| !object.etag.is_empty() && !object.etag.contains('"')));
        let generations = all.objects.iter().filter(|object| object.version.is_some()).count();
        assert_eq!(generations, if matches!(lake.place.server, Server::Gcs(_)) { 3 } else { 0 });
        assert_eq!(all, lake.list("corpus/").await, "what did not change is the same");
        lake.put("corpus/a.txt", "one");
        let now = lake.list("corpus/").await;
        assert_eq!(all.changes(&now).as_deref(), Some("`a.txt` changed"), "written anew, be it with the same bytes");
        let one = lake.list("corpus/a.txt").await;
        assert_eq!((names(&one), one.size_bytes()), (vec![""], 3));
        assert_eq!(names(&lake.list("corpus").await), Vec::<&str>::new(), "others begin so, but none is called so");
        assert_eq!(names(&lake.list("nothing/").await), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn more_than_one_page_is_listed_once_each() {
    for lake in Lake::each() {
        for n in 0..2101 {
            lake.put(&format!("many/{n:04}"), "x");
        }
        let listing = lake.list("many/").await;
        assert_eq!(listing.objects.len(), 2101);
        assert!(listing.objects.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}

#[tokio::test]
async fn what_is_listed_is_fetched_through_passing_faults() {
    for lake in Lake::each() {
        let large = "0123456789".repeat(2_000_000);
        lake.put("corpus/large", &large);
        let listing = lake.list("corpus/").await;
        let count = Arc::new(AtomicU64::new(0));
        lake.place.server.faults().plan(move |asked| {
            let third = asked.method == "GET" && count.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
            third.then_some(Fault::Lost)
        });
        lake.lakes().fetch(&lake.url("corpus/"), &listing, &lake.to()).await.unwrap();
        let read = |name: &str| std::fs::read_to_string(lake.to().join(name)).unwrap();
        assert_eq!((read("a.txt").as_str(), read("deep/b.txt").as_str(), read("empty").as_str()), ("one", "two", ""));
        assert!(read("large") == large);
        lake.place.server.faults().none();
        let one = lake.list("corpus/a.txt").await;
        lake.lakes().fetch(&lake.url("corpus/a.txt"), &one, &lake.out.path().join("single")).await.unwrap();
        assert_eq!(std::fs::read_to_string(lake.out.path().join("single")).unwrap(), "one");
    }
}

#[tokio::test]
async fn what_changed_since_it_was_listed_is_not_fetched() {
    for lake in Lake::each() {
        let refused = async |listing: &Listing, at: u32| {
            let to = lake.out.path().join(at.to_string());
            let refused = lake.lakes().fetch(&lake.url("corpus/"), listing, &to).await.unwrap_err();
            assert!(matches!(refused, ObjectsError::Unfit { .. }), "{refused}");
        };
        let listing = lake.list("corpus/").await;
        lake.put("corpus/a.txt", "ONE");
        refused(&listing, 1).await;
        let listing = lake.list("corpus/").await;
        assert!(lake.place.server.objects().lose("bucket", "corpus/a.txt"));
        refused(&listing, 2).await;
        let listing = lake.list("corpus/").await;
        lake.put("corpus/new", "came meanwhile");
        refused(&listing, 3).await;
    }
}

#[tokio::test]
async fn who_may_not_list_is_told_so_at_once() {
    for lake in Lake::each() {
        lake.place
            .server
            .faults()
            .plan(|_| Some(Fault::Status { status: 403, code: "AccessDenied", retry_after: None }));
        let refused = lake.lakes().list(&lake.url("corpus/")).await.unwrap_err();
        assert!(matches!(refused, ObjectsError::Forbidden { .. }), "{refused}");
        lake.place.server.faults().none();
        lake.place.server.objects().remove_bucket("bucket");
        let refused = lake.lakes().list(&lake.url("corpus/")).await.unwrap_err();
        assert!(matches!(refused, ObjectsError::NoBucket { .. }), "{refused}");
    }
}
