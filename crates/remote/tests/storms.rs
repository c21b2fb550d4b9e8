//! Requests that suffer in this process are healed as those that suffer on their way; and what is thrown away is all of a store.
#![allow(clippy::disallowed_methods)]

mod place;

use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use prunella_faults::{Faults, Storm, Trouble, Weather};
use prunella_objects::{Created, ObjectKey, Objects};
use prunella_remote::{Options, Remote, erase, is_empty};

use place::Place;

/// A place whose requests suffer what a file says.
struct Stormy {
    place: Place,
    options: Options,
    file: PathBuf,
}

impl Stormy {
    fn each() -> [Self; 2] {
        Place::each().map(|place| {
            let file = place.cache().with_file_name("faults.json");
            let options = Options { faults: Some(Faults::of(&place.sys, &file)), ..place.options() };
            Self { place, options, file }
        })
    }

    async fn store(&self) -> Remote {
        Remote::open(&self.place.sys, &self.place.url("store"), &self.options).await.unwrap()
    }

    fn blow(&self, storms: Vec<Storm>) {
        let part = self.file.with_extension("part");
        std::fs::write(&part, serde_json::to_vec(&Weather { seed: 5, storms, ..Weather::default() }).unwrap()).unwrap();
        std::fs::rename(part, &self.file).unwrap();
        // Whoever looks at it does so every few milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn storm(trouble: Trouble, share: f64) -> Vec<Storm> {
    vec![Storm { share: Some(share), ..Storm::new(trouble, 1) }]
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_request_never_leaves_and_is_made_again() {
    for stormy in Stormy::each() {
        let store = stormy.store().await;
        stormy.blow(storm(Trouble::StorageThrottled, 1.0));
        let asked = stormy.place.server.faults().asked();
        let (writer, retries) = (store.clone(), store.traffic().retries());
        let created = tokio::spawn(async move { writer.create(&key("a"), "x".into()).await });
        while store.traffic().retries() == retries {
            tokio::task::yield_now().await;
        }
        assert_eq!(stormy.place.server.faults().asked(), asked, "the service is spared");
        stormy.blow(Vec::new());
        assert_eq!(created.await.unwrap().unwrap(), Created::New);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_failures_and_short_bodies_cost_tries_and_change_nothing() {
    for stormy in Stormy::each() {
        let store = stormy.store().await;
        for trouble in [Trouble::RepliesLost, Trouble::StorageErrors, Trouble::ShortReads] {
            stormy.blow(storm(trouble, 0.4));
            for n in 0..12_u8 {
                let (name, bytes) = (key(&format!("{trouble:?}/{n}")), Bytes::from(vec![n; 100_000]));
                match store.create(&name, bytes.clone()).await.unwrap() {
                    Created::New => {}
                    // One's own, whose reply was lost.
                    Created::There(there) => assert!(there == bytes, "{name}"),
                }
                let mut read = Vec::new();
                store.open(&name).await.unwrap().expect("it is there").read_to_end(&mut read).unwrap();
                assert!(read == bytes, "{name}");
            }
            let listed = store.list(&format!("{trouble:?}/"), None, 99).await.unwrap();
            assert_eq!(listed.len(), 12);
        }
        assert!(store.traffic().retries() > 10, "{}", store.traffic().retries());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_thrown_away_is_one_store_and_nothing_beside_it() {
    for place in Place::each() {
        let open = async |name: &str| Remote::open(&place.sys, &place.url(name), &place.options()).await.unwrap();
        for name in ["runs/1", "runs/10", "runs"] {
            assert!(is_empty(&place.sys, &place.url(name), &place.options()).await.unwrap() || name == "runs");
            let store = open(name).await;
            for n in 0..3 {
                let _new = store.create_and_keep(&key(&format!("data/{n}")), "x".into()).await.unwrap();
            }
            let _read = store.read_listed(&[key("data/0")]).await.unwrap();
        }
        let copies = || std::fs::read_dir(place.cache()).unwrap().flatten().count();
        let before = copies();
        assert_eq!(erase(&place.sys, &place.url("runs/1"), &place.options()).await.unwrap(), 4);
        assert!(is_empty(&place.sys, &place.url("runs/1"), &place.options()).await.unwrap());
        assert_eq!(copies(), before - 1, "its copies on this machine are gone, too");
        assert_eq!(open("runs/10").await.list("data/", None, 99).await.unwrap().len(), 3);
        assert_eq!(open("runs").await.list("data/", None, 99).await.unwrap().len(), 3);
        assert_eq!(
            erase(&place.sys, &place.url("runs/1"), &place.options()).await.unwrap(),
            0,
            "the same again is fine"
        );
    }
}
