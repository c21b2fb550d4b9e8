//! Amazon EC2, by the second version of its metadata service only: a token first, then the questions.

use std::time::Duration;

use hyper::{Method, StatusCode};

use super::{PATIENCE, Source};
use crate::{
    answers::{Seen, aws},
    ask::{Answer, AskError, Asker},
};

const TOKEN: &str = "/latest/api/token";
const INTERRUPTION: &str = "/latest/meta-data/spot/instance-action";
const REBALANCE: &str = "/latest/meta-data/events/recommendations/rebalance";
/// The longest time that a token may live.
const LIVES: Duration = Duration::from_secs(6 * 60 * 60);

pub(super) struct Aws {
    asker: Asker,
    /// The token, and when it was asked for.
    token: Option<(String, Duration)>,
}

impl Aws {
    pub(super) fn new(asker: Asker) -> Self {
        Self { asker, token: None }
    }

    async fn token(&mut self) -> Result<String, AskError> {
        let now = self.asker.clock.monotonic();
        if let Some((token, since)) = &self.token
            && now.saturating_sub(*since) < LIVES / 2
        {
            return Ok(token.clone());
        }
        let lives = LIVES.as_secs().to_string();
        let header = [("x-aws-ec2-metadata-token-ttl-seconds", lives.as_str())];
        let answer = self.asker.ask(Method::PUT, TOKEN, &header, PATIENCE).await?;
        let token = answer.body.trim();
        if answer.status != StatusCode::OK {
            return Err(self.asker.refused(TOKEN, &answer));
        }
        // A token that no header can carry is a page of somebody else.
        if token.is_empty() || token.len() > 1024 || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(AskError::Stranger { endpoint: self.asker.endpoint });
        }
        let token = self.token.insert((token.to_owned(), now));
        Ok(token.0.clone())
    }

    /// Returns what stands at `path`, if anything does.
    async fn look(&mut self, path: &str) -> Result<Option<Answer>, AskError> {
        for last in [false, true] {
            let token = self.token().await?;
            let answer = self.asker.ask(Method::GET, path, &[("x-aws-ec2-metadata-token", &token)], PATIENCE).await?;
            match answer.status {
                StatusCode::OK => return Ok(Some(answer)),
                StatusCode::NOT_FOUND => return Ok(None),
                // The token is no longer good: the machine was moved, or its clock stood still.
                StatusCode::UNAUTHORIZED if !last => self.token = None,
                _ => return Err(self.asker.refused(path, &answer)),
            }
        }
        unreachable!("the last try returns")
    }
}

impl Source for Aws {
    async fn ask(&mut self) -> Result<Vec<Seen>, AskError> {
        let mut seen = Vec::new();
        if let Some(answer) = self.look(INTERRUPTION).await? {
            seen.push(aws::instance_action(&answer.body, self.asker.clock.wall_ms())?);
        } else if let Ok(Some(answer)) = self.look(REBALANCE).await {
            // Only a hint: without it the notice still comes.
            seen.extend(aws::rebalance(&answer.body));
        }
        Ok(seen)
    }
}
