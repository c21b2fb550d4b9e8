//! Stores of clouds: S3, Google Cloud Storage and Azure behind [`prunella_objects::Objects`], retried, probed and cached.
//!
//! [`StoreUrl`] says where, [`Remote`] is the store, and [`check`] finds out whether one is fit to be one. What an answer
//! means is decided in one pure place, `answer.rs`; how long to wait before the next try in another, `pace.rs`.

mod answer;
mod aws;
mod bucket;
mod cache;
mod elsewhere;
mod erase;
mod many;
mod options;
mod own;
mod pace;
mod pour;
mod probe;
mod rate;
mod records;
mod remote;
mod service;
mod showcase;
mod suffering;
mod transport;
mod url;

pub use elsewhere::Lakes;
pub use erase::{erase, is_empty};
pub use options::Options;
pub use probe::{Depth, check};
pub use prunella_objects::{Figures, Finding, Report, Verdict};
pub use rate::Rate;
pub use remote::Remote;
pub use showcase::Published;
pub use transport::Traffic;
pub use url::{Kind, StoreUrl, UrlError};
