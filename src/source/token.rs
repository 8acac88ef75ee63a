//! The token of a session.

use std::fmt;
use std::sync::Arc;

use crate::protocol::wire::LONGEST_TOKEN;

/// A token that may be sent; by value, not clonable, never shown. Its text is shared with the ledger's: a thousand of them
/// are a megabyte.
pub struct Token(Arc<str>);

impl Token {
    /// The text, if it is what the service model allows: 1 to 8,192 characters, none of them white space or control.
    pub fn new(text: impl Into<Arc<str>>) -> Option<Token> {
        let text = text.into();
        let sound = !text.is_empty()
            && (text.len() <= LONGEST_TOKEN
                || text.chars().take(LONGEST_TOKEN + 1).count() <= LONGEST_TOKEN)
            && !text
                .chars()
                .any(|character| character.is_whitespace() || character.is_control());
        sound.then_some(Token(text))
    }

    /// The text, for the wire and the ledger only.
    pub(crate) fn reveal(&self) -> &Arc<str> {
        &self.0
    }

    /// For the session machine alone: what is sent, while the machine keeps the token until the answer is there.
    pub(crate) fn again(&self) -> Token {
        Token(Arc::clone(&self.0))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_1_to_8192_characters_without_white_space() {
        assert!(Token::new("AYAD+/=").is_some());
        assert!(Token::new("x".repeat(8192)).is_some());
        for bad in [
            String::new(),
            "x".repeat(8193),
            "a b".into(),
            "a\n".into(),
            "\u{0}".into(),
        ] {
            assert!(Token::new(bad).is_none());
        }
    }

    #[test]
    fn a_token_never_shows_itself() {
        let token = Token::new("secret").expect("sound");
        assert!(!format!("{token:?}").contains("secret"));
    }
}
