//! Watchers against real servers that answer as each cloud does, and as none should.
#![allow(clippy::disallowed_methods)]

mod service;

use std::{
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use prunella_notices::{Cloud, Said, probe};
use service::{Service, answer, go, start, whom};

const TERMINATE: &str = r#"{"action": "terminate", "time": "2017-09-18T08:21:40Z"}"#;

/// What an EC2 says at present: an interruption, a recommendation.
type Says = Arc<Mutex<(Option<&'static str>, Option<&'static str>)>>;

/// An EC2 whose present interruption and recommendation are settable; its tokens are numbered, and only the newest is good.
fn ec2() -> (Service, Says, Arc<AtomicUsize>) {
    let says = Says::default();
    let token = Arc::new(AtomicUsize::new(0));
    let (present, tokens) = (says.clone(), token.clone());
    let service = Service::start(move |question| {
        let present = *present.lock().unwrap();
        if question.method == "PUT" && question.path == "/latest/api/token" {
            assert_eq!(question.header("x-aws-ec2-metadata-token-ttl-seconds"), Some("21600"));
            return answer(200, &[], &format!("TOKEN{}==", tokens.fetch_add(1, Ordering::SeqCst) + 1));
        }
        let good = format!("TOKEN{}==", tokens.load(Ordering::SeqCst));
        if question.header("x-aws-ec2-metadata-token") != Some(&good) {
            return answer(401, &[], "");
        }
        let there = match question.path.as_str() {
            "/latest/meta-data/spot/instance-action" => present.0,
            "/latest/meta-data/events/recommendations/rebalance" => present.1,
            _ => None,
        };
        there.map_or_else(|| answer(404, &[], "<?xml version=\"1.0\"?>"), |body| answer(200, &[], body))
    });
    (service, says, token)
}

fn times(service: &Service, path: &str) -> usize {
    service.asked().iter().filter(|question| question.path.starts_with(path)).count()
}

const ACTION: &str = "/latest/meta-data/spot/instance-action";

#[tokio::test]
async fn ec2_gives_notice_with_what_is_left_until_the_stated_time() {
    let (service, says, _) = ec2();
    let mut watcher = start(Cloud::Aws, service.address);
    service.until(|service| times(service, ACTION) >= 2).await;
    assert!(watcher.said_nothing_more(), "404 is nothing");
    says.lock().unwrap().0 = Some(TERMINATE);
    let (what, left) = watcher.notice().await;
    assert_eq!(what, "terminate");
    assert!(left <= Duration::from_secs(100) && left > Duration::from_secs(60), "{left:?}");
    assert_eq!(times(&service, "/latest/api/token"), 1, "one token serves many questions");
    // The same notice is given once.
    let before = times(&service, ACTION);
    service.until(|service| times(service, ACTION) >= before + 2).await;
    assert!(watcher.said_nothing_more());
}

#[tokio::test]
async fn a_token_that_is_no_longer_good_is_replaced_at_once() {
    let (service, says, token) = ec2();
    let mut watcher = start(Cloud::Aws, service.address);
    service.until(|service| times(service, ACTION) >= 1).await;
    token.fetch_add(7, Ordering::SeqCst);
    says.lock().unwrap().0 = Some(TERMINATE);
    assert_eq!(watcher.notice().await.0, "terminate");
    assert_eq!(times(&service, "/latest/api/token"), 2);
}

#[tokio::test]
async fn a_recommendation_of_ec2_is_a_hint_and_said_once() {
    let (service, says, _) = ec2();
    says.lock().unwrap().1 = Some(r#"{"noticeTime": "2017-09-18T08:20:00Z"}"#);
    let mut watcher = start(Cloud::Aws, service.address);
    let said = watcher.says().await;
    assert!(matches!(&said, Said::Hint(hint) if hint.contains("rebalance")), "{said:?}");
    let before = times(&service, ACTION);
    service.until(|service| times(service, ACTION) >= before + 2).await;
    assert!(watcher.said_nothing_more());
    says.lock().unwrap().0 = Some(TERMINATE);
    assert_eq!(watcher.notice().await.0, "terminate");
}

const GOOGLE: &str = "Metadata-Flavor: Google";

#[tokio::test]
async fn compute_engine_holds_the_question_back_until_it_preempts() {
    let (preempt, preempted) = mpsc::channel::<()>();
    let preempted = Mutex::new(preempted);
    let service = Service::start(move |question| {
        assert_eq!(question.header("Metadata-Flavor"), Some("Google"));
        let waits = question.path.contains("wait_for_change=true");
        match question.path.split_once('?').map_or(question.path.as_str(), |(path, _)| path) {
            "/computeMetadata/v1/instance/preempted" if waits => {
                assert!(question.path.contains("last_etag=a1") || question.path.contains("last_etag=b2"));
                let _end_of_the_test = preempted.lock().unwrap().recv();
                answer(200, &[GOOGLE, "ETag: b2"], "TRUE")
            }
            "/computeMetadata/v1/instance/preempted" => answer(200, &[GOOGLE, "ETag: a1"], "FALSE"),
            "/computeMetadata/v1/instance/maintenance-event" if waits => {
                answer(200, &[GOOGLE, "ETag: c3"], "MIGRATE_ON_HOST_MAINTENANCE")
            }
            "/computeMetadata/v1/instance/maintenance-event" => answer(200, &[GOOGLE, "ETag: c1"], "NONE"),
            path => panic!("{path}"),
        }
    });
    let mut watcher = start(Cloud::Gcp, service.address);
    let said = watcher.says().await;
    assert!(matches!(&said, Said::Hint(hint) if hint.contains("live migration")), "{said:?}");
    service.until(|service| times(service, "/computeMetadata/v1/instance/preempted?") == 1).await;
    go(&preempt);
    let (what, left) = watcher.notice().await;
    assert_eq!(what, "preempted");
    assert!(left <= Duration::from_secs(30) && left > Duration::from_secs(10), "{left:?}");
}

#[tokio::test]
async fn a_host_that_will_be_maintained_gives_a_minute_and_preemption_makes_it_less() {
    let preempts = Arc::new(Mutex::new("FALSE"));
    let says = preempts.clone();
    let service = Service::start(move |question| match question.path.contains("/maintenance-event") {
        true => answer(200, &[GOOGLE], "TERMINATE_ON_HOST_MAINTENANCE"),
        false => answer(200, &[GOOGLE], *says.lock().unwrap()),
    });
    let mut watcher = start(Cloud::Gcp, service.address);
    let (what, left) = watcher.notice().await;
    assert!(what == "host maintenance" && left > Duration::from_secs(40), "{what} {left:?}");
    *preempts.lock().unwrap() = "TRUE";
    let (what, left) = watcher.notice().await;
    assert!(what == "preempted" && left <= Duration::from_secs(30), "{what} {left:?}");
}

#[tokio::test]
async fn who_does_not_say_that_it_is_google_is_not_believed() {
    let service = Service::start(|_| answer(200, &["ETag: a1"], "TRUE"));
    let mut watcher = start(Cloud::Gcp, service.address);
    assert!(watcher.silent().await.contains("is not the metadata service"));
    assert!(probe(whom(Cloud::Gcp, service.address)).await.is_err());
}

#[tokio::test]
async fn azure_announces_events_of_this_machine_and_of_others() {
    const EVENTS: &str = "/metadata/scheduledevents";
    fn event(of: &str) -> String {
        format!(
            r#"{{"DocumentIncarnation": 2, "Events": [{{"EventId": "1", "EventStatus": "Scheduled", "EventType": "Preempt",
                "ResourceType": "VirtualMachine", "Resources": ["{of}"], "NotBefore": "Mon, 18 Sep 2017 08:20:30 GMT"}}]}}"#
        )
    }
    let events = Arc::new(Mutex::new(event("vmss_1")));
    let says = events.clone();
    let service = Service::start(move |question| {
        if question.header("Metadata") != Some("true") {
            return answer(400, &[], "");
        }
        match question.path.as_str() {
            "/metadata/scheduledevents?api-version=2020-07-01" => answer(200, &[], &says.lock().unwrap()),
            path if path.starts_with("/metadata/instance/compute/name?") => answer(200, &[], "vmss_0"),
            _ => answer(404, &[], ""),
        }
    });
    let mut watcher = start(Cloud::Azure, service.address);
    service.until(|service| times(service, EVENTS) >= 2).await;
    assert!(watcher.said_nothing_more(), "another machine of the set goes");
    *events.lock().unwrap() = event("vmss_0");
    let (what, left) = watcher.notice().await;
    assert!(what == "Preempt" && left <= Duration::from_secs(30) && left > Duration::from_secs(10), "{what} {left:?}");
}

#[tokio::test]
async fn a_service_in_trouble_is_complained_of_once_and_heard_again_when_it_is_well() {
    let well = Arc::new(Mutex::new(false));
    let is_well = well.clone();
    let service = Service::start(move |question| match (*is_well.lock().unwrap(), question.method.as_str()) {
        (false, _) => answer(503, &[], "busy"),
        (true, "PUT") => answer(200, &[], "TOKEN"),
        (true, _) => answer(200, &[], TERMINATE),
    });
    let mut watcher = start(Cloud::Aws, service.address);
    assert!(watcher.silent().await.contains("answers 503 for /latest/api/token"));
    service.until(|service| service.asked().len() >= 3).await;
    assert!(watcher.said_nothing_more());
    *well.lock().unwrap() = true;
    assert_eq!(watcher.notice().await.0, "terminate");
}

#[tokio::test]
async fn a_hidden_service_is_complained_of_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for cloud in Cloud::ALL {
        let mut watcher = start(cloud, address);
        assert!(watcher.silent().await.contains("no connection"), "{cloud}");
        assert!(probe(whom(cloud, address)).await.is_err());
        assert!(watcher.said_nothing_more());
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_black_hole_costs_a_second_a_try() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    // The queue is full: who asks now gets no answer at all, not even a refusal.
    let _queued = TcpStream::connect(address).unwrap();
    let mut watcher = start(Cloud::Aws, address);
    assert!(watcher.silent().await.contains("does not answer within 1 s"));
}

#[tokio::test]
async fn who_accepts_and_says_nothing_is_not_waited_for_long() {
    let (_end, never) = mpsc::channel::<()>();
    let never = Mutex::new(never);
    let service = Service::start(move |_| {
        let _end_of_the_test = never.lock().unwrap().recv();
        Vec::new()
    });
    let mut watcher = start(Cloud::Aws, service.address);
    assert!(watcher.silent().await.contains("does not answer within 5 s"));
    service.until(|service| service.asked().len() >= 2).await;
}

#[tokio::test]
async fn whatever_comes_back_nothing_but_a_notice_is_a_notice() {
    let garbage: [Vec<u8>; 7] = [
        b"\x00\xff\x16\x03\x01 what\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        Vec::new(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        answer(200, &[GOOGLE], &"x".repeat(1 << 20)),
        answer(200, &[], "<html>please sign in</html>"),
    ];
    for text in garbage {
        let shown = String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned();
        let service = Service::start(move |_| text.clone());
        for cloud in Cloud::ALL {
            let mut watcher = start(cloud, service.address);
            let why = watcher.silent().await;
            assert!(why.chars().all(|c| !c.is_control()), "{why:?} of {shown}");
        }
    }
}

#[tokio::test]
async fn a_probe_asks_without_watching() {
    let (service, _, _) = ec2();
    probe(whom(Cloud::Aws, service.address)).await.unwrap();
    let google = Service::start(|_| answer(200, &[GOOGLE, "ETag: a1"], "FALSE"));
    probe(whom(Cloud::Gcp, google.address)).await.unwrap();
    let azure = Service::start(|_| answer(200, &[], "vm"));
    probe(whom(Cloud::Azure, azure.address)).await.unwrap();
    assert_eq!(times(&azure, "/metadata/scheduledevents"), 0, "a look switches nothing on");
}
