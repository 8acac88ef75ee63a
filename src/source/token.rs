//! The token of a session.

use std::fmt;

use crate::protocol::wire::LONGEST_TOKEN;

/// A token that may be sent; by value, not clonable, never shown.
pub struct Token(String);

impl Token {
    /// The text, if it is what the service model allows: 1 to 8,192 characters, none of them white space or control.
    pub fn new(text: String) -> Option<Token> {
        let sound = !text.is_empty()
            && text.chars().take(LONGEST_TOKEN + 1).count() <= LONGEST_TOKEN
            && !text
                .chars()
                .any(|character| character.is_whitespace() || character.is_control());
        sound.then(|| {
            let mut text = text;
            text.shrink_to_fit();
            Token(text)
        })
    }

    /// The text, for the wire and the ledger only.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// For the session machine alone: what is sent, while the machine keeps the token until the answer is there.
    pub(crate) fn again(&self) -> Token {
        Token(self.0.clone())
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
        assert!(Token::new("AYAD+/=".into()).is_some());
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
        let token = Token::new("secret".into()).expect("sound");
        assert!(!format!("{token:?}").contains("secret"));
    }
}
