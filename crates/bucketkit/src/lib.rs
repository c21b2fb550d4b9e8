//! Object stores on loopback for tests and benches, with faults and delays on demand.
//!
//! [`S3Server`] speaks S3 (signatures included) over a map in memory whose conditions are checked under the lock that writes,
//! so that exactly one of many creators wins by construction. [`GcsServer`] speaks Google's JSON API over the same map. [`Faults`] make it fail on demand, as HTTP, before or after the work.

mod faults;
mod gcs;
mod objects;
mod s3;
mod server;

pub use faults::{Asked, Fault, Faults};
pub use gcs::{ACCESS_TOKEN, Access, GcsServer, SUBJECT_TOKEN};
pub use objects::{Objects, Stored};
pub use s3::Conditions;
pub use server::{ACCESS_KEY, REGION, S3Server, SECRET_KEY};
