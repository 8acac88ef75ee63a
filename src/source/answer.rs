//! What GetLatestConfiguration answered, once it has been checked.

use std::time::Duration;

use aws_sdk_appconfigdata::operation::get_latest_configuration::GetLatestConfigurationOutput;
use bytes::Bytes;

use crate::protocol::{Configuration, DEFAULT_POLL_INTERVAL, GREATEST_POLL_INTERVAL};

use super::fault::{Call, Fault};
use super::token::Token;

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
    /// An answer without a token is somebody else's page, not a configuration, whatever its status says.
    pub(super) fn of(
        call: &Call<'_>,
        output: GetLatestConfigurationOutput,
    ) -> Result<Answer, Fault> {
        let token = output.next_poll_configuration_token.ok_or_else(|| {
            Fault::of_answer(
                call,
                "an answer without a token (Next-Poll-Configuration-Token) is not the service's",
            )
        })?;
        let token = Token::new(token).ok_or_else(|| {
            Fault::of_answer(
                call,
                "the answer's token (Next-Poll-Configuration-Token) cannot be one: it is empty, longer than 8,192 \
                 characters, or has white space in it",
            )
        })?;
        let asked = call.profile.poll_interval;
        let interval = match u64::try_from(output.next_poll_interval_in_seconds) {
            Ok(seconds @ 1..) => Duration::from_secs(seconds).min(GREATEST_POLL_INTERVAL),
            _ if asked.is_zero() => DEFAULT_POLL_INTERVAL,
            _ => asked,
        };
        // Unchanged is decided by length alone; content type and label mean nothing then.
        let bytes = output
            .configuration
            .map(|blob| blob.into_inner())
            .unwrap_or_default();
        let configuration = (!bytes.is_empty()).then(|| {
            // Kept for long, so in a buffer of exactly this size.
            let bytes = Bytes::copy_from_slice(&bytes);
            let content_type = output.content_type.map(bounded);
            Configuration::new(bytes, content_type, output.version_label.map(bounded))
        });
        Ok(Answer {
            configuration,
            token,
            interval,
        })
    }
}

/// Header values reach screens and the ledger: no control characters, no novels.
fn bounded(text: String) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(LONGEST_HEADER)
        .collect()
}
