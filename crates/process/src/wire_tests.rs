use proptest::prelude::*;

use super::*;

fn spawn() -> Request {
    Request::Spawn(SpawnRequest {
        id: 7,
        attempt_id: "store/run/key/1".into(),
        memory_limit: Some(1 << 30),
        cwd: "/tmp/ünter wegs".into(),
        argv: vec!["sh".into(), "-c".into(), OsString::from_vec(vec![0xff, 0x20])],
        env: vec![("A".into(), "".into()), ("B".into(), OsString::from_vec(vec![0xfe]))],
        read_only: vec!["/data/große".into(), "/b".into()],
    })
}

fn problems() -> Vec<SpawnProblem> {
    vec![
        SpawnProblem::NoCommand,
        SpawnProblem::DirectoryMissing { cwd: "/x".into() },
        SpawnProblem::CommandNotFound { searched: "/bin:/y".into() },
        SpawnProblem::NotExecutable { path: "/x".into() },
        SpawnProblem::InterpreterMissing { path: "/x".into() },
        SpawnProblem::TooLong,
        SpawnProblem::NulByte,
        SpawnProblem::Refused { errno: 11 },
    ]
}

fn replies() -> Vec<Reply> {
    let end = End {
        status: EndStatus::Signaled(9),
        memory_peak: 5,
        cpu: Duration::from_micros(77),
        out_of_memory: Some(OomEvidence { limit: 3, seen: 4, cgroup: true }),
        leftovers_killed: 2,
        survivors: 1,
        sent: 1 << 15,
    };
    let exited = End { status: EndStatus::Exited(-3), out_of_memory: None, ..end.clone() };
    let usage = Usage { cpu: Duration::from_secs(3), memory: 9, io_bytes: 11 };
    let mut all = vec![
        Reply::Hello,
        Reply::Malformed,
        Reply::Spawned { id: 1, pid: 44, unprotected: -3 },
        Reply::Usage { id: 1, usage },
        Reply::Ended { id: 1, end },
        Reply::Ended { id: 2, end: exited },
        Reply::Ended { id: 3, end: End::unseen() },
    ];
    all.extend(problems().into_iter().map(|problem| Reply::SpawnFailed { id: 5, problem }));
    all
}

fn take(bytes: &[u8]) -> (u8, Vec<u8>) {
    let mut frames = Frames::default();
    frames.push(bytes);
    match frames.take() {
        Taken::Frame { kind, payload, .. } => (kind, payload),
        other => panic!("not a frame: {other:?}"),
    }
}

#[test]
fn what_is_said_is_what_is_heard() {
    for request in [spawn(), Request::Signal { id: 3, signal: 15 }, Request::Kill { id: 4 }] {
        let (kind, payload) = take(&request.encode());
        assert_eq!(Request::decode(kind, &payload), Ok(request));
    }
    for reply in replies() {
        let (kind, payload) = take(&reply.encode());
        assert_eq!(Reply::decode(kind, &payload), Ok(reply));
    }
}

#[test]
fn a_frame_cut_anywhere_or_with_a_tail_is_malformed() {
    let (kind, payload) = take(&spawn().encode());
    for length in 0..payload.len() {
        assert_eq!(Request::decode(kind, &payload[..length]), Err(Malformed), "cut at {length}");
    }
    let longer = [payload.as_slice(), b"x"].concat();
    assert_eq!(Request::decode(kind, &longer), Err(Malformed));
}

#[test]
fn a_frame_over_the_limit_is_passed_over_and_the_next_one_heard() {
    let size = MAX_FRAME + 1;
    let mut frames = Frames::default();
    frames.push(&u32::try_from(size).unwrap().to_le_bytes());
    frames.push(&[1, 2]);
    assert_eq!(frames.take(), Taken::Bad { descriptors: 2 });
    let mut left = size - 2;
    while left > 0 {
        let piece = left.min(60_000);
        frames.push(&vec![0; piece]);
        assert_eq!(frames.take(), Taken::Nothing);
        assert!(frames.buffer.len() < 1 << 20, "skipped bytes must not be kept");
        left -= piece;
    }
    frames.push(&Reply::Hello.encode());
    assert_eq!(frames.take(), Taken::Frame { kind: 64, descriptors: 0, payload: vec![] });
}

#[test]
fn a_count_larger_than_the_frame_takes_no_memory() {
    let mut out = Writer::new(1, 2);
    out.u64(1);
    out.bytes(b"id");
    out.option(None);
    out.bytes(b"/");
    out.u32(u32::MAX as usize);
    let (kind, payload) = take(&out.finish());
    assert_eq!(Request::decode(kind, &payload), Err(Malformed));
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(kind in any::<u8>(), payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::decode(kind, &payload);
        let _ = Reply::decode(kind, &payload);
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut(cuts in proptest::collection::vec(1usize..40, 1..60)) {
        let stream: Vec<u8> = [spawn().encode(), Request::Kill { id: 4 }.encode(), vec![1, 0, 0, 0, 9], Reply::Hello.encode()].concat();
        let (mut frames, mut seen, mut rest, mut cuts) = (Frames::default(), Vec::new(), stream.as_slice(), cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
            frames.push(piece);
            rest = after;
            loop {
                match frames.take() {
                    Taken::Nothing => break,
                    Taken::Bad { .. } => seen.push(None),
                    Taken::Frame { kind, .. } => seen.push(Some(kind)),
                }
            }
        }
        prop_assert_eq!(seen, vec![Some(1), Some(3), None, Some(64)]);
    }
}
