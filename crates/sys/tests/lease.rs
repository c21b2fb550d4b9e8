//! Read leases, in a process of their own: a test beside this one that starts a process would hand it, for a moment, a
//! copy of the writing descriptor.
// A test prepares its files as any program would.
#![allow(clippy::disallowed_methods)]

use prunella_sys::{ReadLease, read_lease};
use std::fs::OpenOptions;

#[test]
fn a_lease_is_refused_while_anybody_can_write() {
    let path = std::env::temp_dir().join(format!("prunella-lease-{}", std::process::id()));
    std::fs::write(&path, b"x").expect("the temporary directory is writable");
    let writer = OpenOptions::new().write(true).open(&path).expect("just written");
    let while_open = read_lease(&path).expect("readable");
    drop(writer);
    let after = read_lease(&path).expect("readable");
    std::fs::remove_file(&path).expect("ours");
    match (while_open, after) {
        (ReadLease::Writers, ReadLease::Granted(held)) => assert!(held.intact()),
        (ReadLease::Unsupported, ReadLease::Unsupported) => {}
        other => panic!("{other:?}"),
    }
}
