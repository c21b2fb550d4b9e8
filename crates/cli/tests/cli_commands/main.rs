//! The command line as its users meet it: the real binary in a directory of its own.
#![allow(clippy::disallowed_methods)]

mod accelerators;
mod again;
mod buckets;
mod clouds;
mod comparing;
mod completing;
mod configuring;
mod deciding;
mod docs;
mod drawing;
mod exec;
mod fanning;
mod getting;
mod home;
mod including;
mod keeping;
mod lineage;
mod looking;
mod manual;
mod memory;
mod mounting;
mod notices;
mod plain;
mod planning;
mod publishing;
mod publishing_in_buckets;
mod referencing;
mod rights;
mod shells;
mod starting;
mod stopping;
mod summaries;
mod trees;
mod walk;
mod warm;
