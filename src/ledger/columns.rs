//! How values stand in columns: text that an operator can read and that comes back exactly as it was.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef};
use rusqlite::{Row, ToSql};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::Digest;

/// A value in the form that `Display` and `FromStr` give it.
pub(super) struct Text<T>(pub T);

impl<T: Display> ToSql for Text<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Text(self.0.to_string())))
    }
}

impl<T: FromStr<Err: Error + Send + Sync + 'static>> FromSql for Text<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Text<T>> {
        let value = value.as_str()?.parse();
        value
            .map(Text)
            .map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// A value as JSON.
pub(super) struct Json<T>(pub T);

impl<T: Serialize> ToSql for Json<&T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(self.0)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(ToSqlOutput::Owned(Value::Text(text)))
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Json<T>> {
        let value = serde_json::from_str(value.as_str()?);
        value
            .map(Json)
            .map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// Seconds, with nine more digits where they are not whole.
pub(super) struct Seconds(pub Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.subsec_nanos() {
            0 => write!(f, "{}", self.0.as_secs()),
            nanos => write!(f, "{}.{nanos:09}", self.0.as_secs()),
        }
    }
}

impl FromStr for Seconds {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Seconds, Self::Err> {
        let (seconds, nanos) = text.split_once('.').unwrap_or((text, "0"));
        // Nothing that this program wrote has a billion nanoseconds; `new` would overflow only beyond that.
        let nanos = nanos.parse::<u32>()?.min(999_999_999);
        Ok(Seconds(Duration::new(seconds.parse()?, nanos)))
    }
}

/// A digest as its text, made without a detour by the formatter: every commit holds several.
pub(super) fn digest_text(digest: &Digest) -> String {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in digest.as_bytes() {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}

/// A column as the value whose text it holds.
pub(super) fn text<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    row.get::<_, Text<T>>(column).map(|value| value.0)
}

/// As `text`, for a column that may be NULL.
pub(super) fn text_or_null<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    let value = row.get::<_, Option<Text<T>>>(column)?;
    Ok(value.map(|value| value.0))
}

/// A number of bytes, which SQLite holds as a signed number.
pub(super) fn size_in(size: u64) -> rusqlite::Result<i64> {
    i64::try_from(size).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

pub(super) fn size(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let size: i64 = row.get(column)?;
    u64::try_from(size).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, size))
}
