//! What is sent and fetched is in memory by the piece, whatever the artifact.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use prunella_bucketkit::S3Server;

use crate::buckets::Machine;

const MIB: u64 = 1 << 20;

/// The documents promise 256 MiB. What is free and not given back would be more than this.
const MOST: u64 = 192 * MIB;

/// Bytes that look random, so that no chunk is like another.
fn noise(path: &Path, size: u64) {
    let mut file = fs::File::create(path).expect("ours");
    let (mut state, mut block) = (1_u64, Vec::with_capacity(MIB as usize));
    for _ in 0..size / MIB {
        block.clear();
        for _ in 0..MIB / 8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            block.extend((state ^ (state >> 29)).to_le_bytes());
        }
        file.write_all(&block).expect("there is room");
    }
}

/// Runs a command to its end and returns how much of the memory was its own at its peak.
fn peak(mut command: Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    // The kernel keeps the peak as long as the process is there: the last look is what counts.
    let ended = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
        peak = kib.map_or(peak, |kib| kib * 1024);
        if let Some(ended) = child.try_wait().expect("it is a child of this process") {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success(), "{}", std::io::read_to_string(child.stderr.take().expect("piped")).unwrap_or_default());
    peak
}

/// What a process has beside its transfers.
const BESIDE: u64 = 48 * MIB;

#[test]
fn transfers_take_no_more_memory_than_the_project_file_allows() {
    let server = S3Server::start("bucket");
    let (one, other) = (Machine::new(&server), Machine::new(&server));
    let noisy = one.home.beside("noise");
    noise(&noisy, 300 * MIB);
    let steps = format!("  make: {{ run: 'mv {} noise', outputs: {{ noise: noise }} }}\n", noisy.display());
    for machine in [&one, &other] {
        machine.home.write("pipeline.yaml", &format!("prunella: v1\nname: limited\nsteps:\n{steps}"));
        machine.home.write("prunella.toml", "[transfers]\nmemory = \"64MiB\"\n");
    }
    let sent = peak(one.command(&["run"]));
    let fetched = peak(other.command(&["get", "make.noise", "got"]));
    println!("run {} MiB, get {} MiB", sent / MIB, fetched / MIB);
    for (what, peak) in [("run", sent), ("get", fetched)] {
        assert!(peak <= 64 * MIB + BESIDE, "{what} had {} MiB", peak / MIB);
    }
}

#[test]
fn a_gibibyte_goes_into_a_bucket_and_comes_back_in_bounded_memory() {
    let server = S3Server::start("bucket");
    let (one, other) = (Machine::new(&server), Machine::new(&server));
    let noisy = one.home.beside("noise");
    noise(&noisy, 400 * MIB);
    let pipeline = format!(
        "prunella: v1\nname: large\nsteps:\n  make: {{ run: 'mkdir all; split -b 10M {} all/noise.; truncate -s 624M all/zeros', outputs: {{ all: all/ }} }}\n",
        noisy.display()
    );
    one.home.write("pipeline.yaml", &pipeline);
    let sent = peak(one.command(&["run"]));
    let stored: usize = server
        .objects()
        .keys("bucket")
        .iter()
        .filter_map(|key| server.objects().get("bucket", key))
        .map(|o| o.bytes.len())
        .sum();
    assert!(stored as u64 > 400 * MIB, "all of it is in the bucket");
    other.home.write("pipeline.yaml", &pipeline);
    let fetched = peak(other.command(&["get", "make.all", "got"]));
    let files = fs::read_dir(other.home.dir.join("got")).expect("it was fetched");
    let sizes: Vec<u64> = files.map(|file| file.expect("readable").metadata().expect("there").len()).collect();
    assert_eq!((sizes.len(), sizes.iter().sum()), (41, 1024 * MIB));
    for (what, peak) in [("run", sent), ("get", fetched)] {
        assert!(peak > 4 * MIB, "{what}: its memory was not seen");
        assert!(peak <= MOST, "{what} had {} MiB", peak / MIB);
    }
    println!("run {} MiB, get {} MiB", sent / MIB, fetched / MIB);
}
