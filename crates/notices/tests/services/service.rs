//! A real HTTP server on a port of its own that answers as a test says, and a clock that hurries.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc::Sender},
    time::Duration,
};

use async_trait::async_trait;
use prunella_notices::{Cloud, Said, Watch, watch};
use prunella_sys::{Clock, RealClock};
use tokio::sync::{
    Notify,
    mpsc::{UnboundedReceiver, unbounded_channel},
};

/// A question as it came.
#[derive(Debug, Clone)]
pub struct Question {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Question {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Returns an answer with this status, body and header lines.
pub fn answer(status: u16, headers: &[&str], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

/// A service: every connection has a thread, so that one that is held back holds no other.
pub struct Service {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Question>>>,
    more: Arc<Notify>,
}

impl Service {
    pub fn start(answers: impl Fn(&Question) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let more = Arc::new(Notify::new());
        let (seen, tell, answers) = (asked.clone(), more.clone(), Arc::new(answers));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, tell, answers) = (seen.clone(), tell.clone(), answers.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(question) = read(&stream) else { return };
                    seen.lock().unwrap().push(question.clone());
                    tell.notify_one();
                    let _whoever_asked_is_gone = stream.write_all(&answers(&question));
                });
            }
        });
        Self { address, asked, more }
    }

    pub fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until what was asked so far is enough.
    pub async fn until(&self, mut enough: impl FnMut(&Self) -> bool) {
        let asked = async {
            while !enough(self) {
                self.more.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asked).await.expect("it is asked in time");
    }
}

fn read(stream: &TcpStream) -> Option<Question> {
    let mut lines = BufReader::new(stream.take(16 << 10)).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    Some(Question { method, path, headers })
}

/// A clock on which ten seconds pass in one; its wall clock stands at 2017-09-18T08:20:00Z.
struct Hurried;

pub const WALL_MS: i64 = 1_505_722_800_000;

#[async_trait]
impl Clock for Hurried {
    fn monotonic(&self) -> Duration {
        RealClock.monotonic() * 10
    }

    fn wall_ms(&self) -> i64 {
        WALL_MS
    }

    async fn sleep(&self, d: Duration) {
        RealClock.sleep(d / 10).await;
    }
}

/// A watcher at work, and what it says.
pub struct Watcher {
    said: UnboundedReceiver<Said>,
    task: tokio::task::JoinHandle<()>,
    pub clock: Arc<dyn Clock>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn whom(cloud: Cloud, address: SocketAddr) -> Watch {
    Watch { cloud, endpoint: address.to_string().parse().unwrap(), clock: Arc::new(Hurried) }
}

pub fn start(cloud: Cloud, address: SocketAddr) -> Watcher {
    let (tell, said) = unbounded_channel();
    let whom = whom(cloud, address);
    let clock = whom.clock.clone();
    let task = tokio::spawn(watch(whom, move |said| drop(tell.send(said))));
    Watcher { said, task, clock }
}

impl Watcher {
    /// Returns the next thing it says.
    pub async fn says(&mut self) -> Said {
        let said = tokio::time::timeout(Duration::from_secs(60), self.said.recv()).await;
        said.expect("it says something in time").expect("it watches on")
    }

    /// Returns the notice that it gives next, and how long it leaves.
    pub async fn notice(&mut self) -> (String, Duration) {
        match self.says().await {
            Said::Notice { notice, at } => (notice.what, at.saturating_sub(self.clock.monotonic())),
            other => panic!("{other:?}"),
        }
    }

    /// Returns why it says that nobody answers.
    pub async fn silent(&mut self) -> String {
        match self.says().await {
            Said::Silent(error) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    pub fn said_nothing_more(&mut self) -> bool {
        self.said.try_recv().is_err()
    }
}

/// Tells a thread that waits to go on, if there still is one.
pub fn go(to: &Sender<()>) {
    let _it_is_gone = to.send(());
}
