//! Configuration tokens: what they look like and how the server remembers them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::protocol::{Digest, wire};

/// One more than a multiple of three, so that the base64 text ends in `==`.
const TOKEN_BYTES: usize = 760;

/// The first bytes of the service's tokens, which begin with `AYADe`: the head of an AWS Encryption SDK message.
const HEAD: [u8; 4] = [0x01, 0x80, 0x03, 0x78];
/// `+/+/` in base64, so that every token has the characters that a client must percent-encode.
const PLUS_AND_SLASH: [u8; 3] = [0xfb, 0xff, 0xbf];
const PLUS_AND_SLASH_AT: usize = 6;

/// A token of the service's shape: about 1,000 characters of standard base64 which contain `+`, `/` and `=`.
/// `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// From the kernel's random source.
    pub fn random() -> std::io::Result<Token> {
        let mut bytes = vec![0; TOKEN_BYTES];
        fill(&mut bytes)?;
        for (byte, fixed) in bytes.iter_mut().zip(HEAD) {
            *byte = fixed;
        }
        for (byte, fixed) in bytes.iter_mut().skip(PLUS_AND_SLASH_AT).zip(PLUS_AND_SLASH) {
            *byte = fixed;
        }
        Ok(Token(STANDARD.encode(&bytes)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn key(&self) -> TokenKey {
        TokenKey(Digest::of(self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What the server keeps of a token: enough to know it again, not enough to use it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TokenKey(Digest);

impl TokenKey {
    /// The key of a token that a client sent; `None`: no token can look like this.
    pub fn of(sent: &str) -> Option<TokenKey> {
        let well_formed = !sent.is_empty()
            && sent.chars().take(wire::LONGEST_TOKEN + 1).count() <= wire::LONGEST_TOKEN
            && !sent.contains(char::is_whitespace);
        well_formed.then(|| TokenKey(Digest::of(sent.as_bytes())))
    }
}

/// A request id in the form of a random UUID.
pub fn request_id() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    let number =
        u128::from_be_bytes(bytes) & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let hex = format!("{number:032x}");
    let mut id = String::with_capacity(36);
    for (index, digit) in hex.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    Ok(id)
}

fn fill(bytes: &mut [u8]) -> std::io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match getrandom(&mut *rest, GetRandomFlags::empty()) {
            Ok(filled) => rest = rest.get_mut(filled..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_needs_percent_encoding() {
        for _ in 0..200 {
            let token = Token::random().unwrap();
            let text = token.as_str();
            assert!(text.starts_with("AYADe"), "{text}");
            assert!(
                ["+", "/", "="]
                    .iter()
                    .all(|character| text.contains(character)),
                "{text}"
            );
            assert!((750..=1200).contains(&text.len()));
            assert!(TokenKey::of(text) == Some(token.key()));
        }
    }

    #[test]
    fn no_two_tokens_are_equal() {
        assert!(Token::random().unwrap() != Token::random().unwrap());
    }

    #[test]
    fn a_token_is_up_to_8192_characters_without_white_space() {
        assert!(TokenKey::of("").is_none());
        assert!(TokenKey::of("a b").is_none());
        assert!(TokenKey::of(&"x".repeat(8_192)).is_some());
        assert!(TokenKey::of(&"x".repeat(8_193)).is_none());
    }

    #[test]
    fn debug_does_not_show_a_token() {
        let token = Token::random().unwrap();
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn a_request_id_is_a_random_uuid() {
        let id = request_id().unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(
            matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'),
            "{id}"
        );
    }
}
