//! What GetLatestConfiguration answered, once it has been checked.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::exchange::Reply;
use super::fault::{Call, Fault};
use super::token::Token;
use crate::protocol::wire::{NEXT_INTERVAL_HEADER, NEXT_TOKEN_HEADER, VERSION_LABEL_HEADER};
use crate::protocol::{Configuration, DEFAULT_POLL_INTERVAL, GREATEST_POLL_INTERVAL};

/// The longest content type or label that is kept, in characters.
const LONGEST_HEADER: usize = 256;

/// What GetLatestConfiguration answered.
#[derive(Debug)]
pub struct Answer {
    /// `None`: unchanged, that is an empty body.
    pub configuration: Option<Configuration>,
    pub token: Token,
    /// As answered, at most a day; where the answer makes no sense (zero, negative, missing) what was asked for.
    pub interval: Duration,
}

impl Answer {
    /// Of a success. An answer without a token is somebody else's page, not a configuration, whatever its status says.
    pub(super) fn of(call: &Call<'_>, reply: Reply) -> Result<Answer, Fault> {
        let refuse = |what: &str| Fault::of_answer(call, what);
        let header = |name| one(&reply.headers, name).map_err(|what| refuse(&what));
        let token = header(NEXT_TOKEN_HEADER)?.ok_or_else(|| {
            refuse("an answer without a token (Next-Poll-Configuration-Token) is not the service's")
        })?;
        let token = Token::new(token).ok_or_else(|| {
            refuse(
                "the answer's token (Next-Poll-Configuration-Token) cannot be one: it is empty, longer than 8,192 \
                 characters, or has white space in it",
            )
        })?;
        let interval = header(NEXT_INTERVAL_HEADER)?.map(|seconds| seconds.trim().parse::<i32>());
        let interval = interval.transpose().map_err(|_| {
            refuse("an answer whose interval (Next-Poll-Interval-In-Seconds) cannot be read: it is no number of seconds")
        })?;
        let asked = call.profile.poll_interval;
        let interval = match interval.map(u64::try_from) {
            Some(Ok(seconds @ 1..)) => Duration::from_secs(seconds).min(GREATEST_POLL_INTERVAL),
            _ if asked.is_zero() => DEFAULT_POLL_INTERVAL,
            _ => asked,
        };
        let content_type = header(CONTENT_TYPE.as_str())?.map(bounded);
        let version_label = header(VERSION_LABEL_HEADER)?.map(bounded);
        // Unchanged is decided by length alone; content type and label mean nothing then. Kept for long, so in a buffer
        // of exactly this size.
        let configuration = (!reply.body.is_empty()).then(|| {
            let bytes = Bytes::from(reply.body.into_boxed_slice());
            Configuration::new(bytes, content_type, version_label)
        });
        Ok(Answer {
            configuration,
            token,
            interval,
        })
    }
}

/// The header's value; `None` where there is none. Two of them, or one that is no text, are nobody's answer.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| str::from_utf8(value.as_bytes()));
    match (value.transpose(), values.next()) {
        (Ok(value), None) => Ok(value),
        _ => Err(format!("an answer whose header {name} cannot be read")),
    }
}

/// Header values reach screens and the ledger: no control characters, no novels.
fn bounded(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(LONGEST_HEADER)
        .collect()
}
