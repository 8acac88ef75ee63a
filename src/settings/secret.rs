//! What of the settings' text is not repeated in messages: values that may hold a secret.
//!
//! A message shows the line that it is about, and that line may hold more than what is wrong. The text may be no YAML at all, so
//! that it is read here by its looks, and rather too much is hidden than too little.

use std::ops::Range;

use super::suggestion::nearest;

/// Keys whose values may be secrets, however they are misspelt.
const KEYS: [&str; 3] = ["headers", "body", "external_id"];
/// With such a word in its key a text is a secret in somebody's settings, if not in these: a header, a variable of AWS's.
const WORDS: [&str; 6] = ["auth", "cookie", "key", "passw", "secret", "token"];

/// What is hidden: lines from 1, and pieces of them in characters.
pub type Hidden = Vec<(usize, Range<usize>)>;

pub fn hidden(lines: impl Iterator<Item = impl AsRef<str>>) -> Hidden {
    let mut reader = Reader::default();
    for (index, line) in lines.enumerate() {
        reader.line = index + 1;
        reader.read(line.as_ref());
    }
    reader.hidden
}

fn is_secret(key: &str) -> bool {
    nearest(key, KEYS).is_some_and(|known| known.len().abs_diff(key.len()) < 2)
}

fn has_word(key: &str) -> bool {
    let key = key.to_lowercase();
    !key.contains('/') && WORDS.iter().any(|word| key.contains(word))
}

#[derive(Default)]
struct Reader {
    hidden: Hidden,
    line: usize,
    /// Of each open bracket, whether what is in it is secret.
    flow: Vec<bool>,
    /// Whether the value that comes next is.
    secret: bool,
    /// Whether it is if it is a text: a service may be called `auth`.
    word: bool,
    /// The quote of a text that goes on on the next line.
    quote: Option<char>,
    /// The column of a key below which names are shown and values are not.
    values: Option<usize>,
    /// The column of a key below which nothing is shown.
    all: Option<usize>,
    /// The column of a key whose text is the lines below it, as they are.
    literal: Option<usize>,
}

impl Reader {
    fn read(&mut self, line: &str) {
        let chars: Vec<char> = line.chars().collect();
        let Some(start) = chars.iter().position(|c| !c.is_whitespace()) else {
            return;
        };
        let mut at = start;
        if let Some(quote) = self.quote {
            at = self.quoted(&chars, start, quote);
        } else if self.flow.is_empty() {
            let dash = chars.get(start) == Some(&'-');
            let below = |key: &usize| start > *key || (start == *key && dash);
            self.values = self.values.filter(below);
            self.all = self.all.filter(below);
            self.literal = self.literal.filter(|key| start > *key);
            self.secret = self.values.is_some() || self.all.is_some();
            self.word = false;
            if self.all.is_some() {
                return self.hide(start..chars.len());
            }
            if self.literal.is_some() {
                return;
            }
        }
        while at < chars.len() {
            at = self.token(&chars, at);
        }
    }

    /// Reads what begins here; where the next begins.
    fn token(&mut self, chars: &[char], at: usize) -> usize {
        let around = self.flow.last().copied();
        let around = around.unwrap_or(self.values.is_some() || self.all.is_some());
        let blank = |at: usize| chars.get(at).is_none_or(|c| c.is_whitespace());
        match chars.get(at) {
            Some('#') if at == 0 || blank(at - 1) => {
                if self.secret || around {
                    self.hide(at..chars.len());
                }
                return chars.len();
            }
            Some('{' | '[') => {
                self.flow.push(self.secret);
                self.word = false;
            }
            Some('}' | ']') => drop(self.flow.pop()),
            Some(',') => (self.secret, self.word) = (around, false),
            Some('-') if self.flow.is_empty() && blank(at + 1) => {}
            Some(c) if !c.is_whitespace() => return self.scalar(chars, at, around),
            _ => {}
        }
        at + 1
    }

    fn scalar(&mut self, chars: &[char], at: usize, around: bool) -> usize {
        let quote = chars.get(at).copied().filter(|c| matches!(c, '"' | '\''));
        let hidden = self.hidden.len();
        let end = match quote {
            Some(quote) => self.quoted(chars, at, quote),
            None => self.plain(chars, at),
        };
        let colon = chars.iter().skip(end).position(|c| !c.is_whitespace());
        let colon = end + colon.unwrap_or_default();
        if chars.get(colon) != Some(&':') || self.quote.is_some() {
            return end;
        }
        // A key, which is shown.
        self.hidden.truncate(hidden);
        let key: String = chars.iter().take(end).skip(at).collect();
        let key = key.trim_matches(['"', '\'', ' ']);
        self.secret = around || is_secret(key);
        self.word = has_word(key);
        let value = chars.iter().skip(colon + 1).find(|c| !c.is_whitespace());
        if self.flow.is_empty() {
            let literal = value.is_some_and(|c| matches!(c, '|' | '>'));
            match self.secret || (self.word && literal) {
                true if !around && nearest(key, ["headers"]).is_some() => self.values = Some(at),
                true => self.all = Some(at),
                false => {}
            }
            self.literal = literal.then_some(at);
        }
        colon + 1
    }

    /// A text without quotes, up to its end or to the colon that makes it a key.
    fn plain(&mut self, chars: &[char], at: usize) -> usize {
        let flow = !self.flow.is_empty();
        let bracket = |c: Option<&char>| flow && matches!(c, Some(',' | '[' | ']' | '{' | '}'));
        let ends = |at: &usize| {
            let (c, next) = (chars.get(*at), chars.get(at + 1));
            let blank = next.is_none_or(|c| c.is_whitespace());
            let comment = c.is_some_and(|c| c.is_whitespace()) && next == Some(&'#');
            comment || bracket(c) || (c == Some(&':') && (blank || bracket(next)))
        };
        let end = (at..chars.len()).find(ends).unwrap_or(chars.len());
        self.text(chars, at..end);
        end
    }

    /// A text in quotes from its first character, or from where it goes on.
    fn quoted(&mut self, chars: &[char], at: usize, quote: char) -> usize {
        let begins = self.quote.take().is_none();
        let mut end = at + usize::from(begins);
        loop {
            match chars.get(end) {
                None => {
                    self.quote = Some(quote);
                    break;
                }
                Some('\\') if quote == '"' => end += 2,
                Some(c) if *c == quote && quote == '\'' && chars.get(end + 1) == Some(c) => {
                    end += 2
                }
                Some(c) if *c == quote => {
                    end += 1;
                    break;
                }
                Some(_) => end += 1,
            }
        }
        let end = end.min(chars.len());
        self.text(chars, at..end);
        end
    }

    /// Hides a value; of one that is no secret what a URL has before its `@` and behind its `?`.
    fn text(&mut self, chars: &[char], range: Range<usize>) {
        if self.secret || self.word {
            return self.hide(range);
        }
        let text = chars.get(range.clone()).unwrap_or_default();
        let quotes = text.iter().rev().take_while(|c| matches!(c, '"' | '\''));
        let end = range.end - quotes.count();
        let Some(scheme) = text.windows(3).position(|three| three == [':', '/', '/']) else {
            return;
        };
        let host = scheme + 3;
        let rest = text.get(host..).unwrap_or_default();
        let path = rest.iter().position(|c| *c == '/').unwrap_or(rest.len());
        let before = rest.get(..path).unwrap_or_default();
        if let Some(user) = before.iter().rposition(|c| *c == '@') {
            self.hide(range.start + host..range.start + host + user);
        }
        if let Some(query) = rest.iter().position(|c| *c == '?') {
            self.hide((range.start + host + query + 1).min(end)..end);
        }
    }

    fn hide(&mut self, range: Range<usize>) {
        self.hidden.push((self.line, range));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with `*` for what is hidden.
    fn shown(text: &str) -> String {
        let hidden = hidden(text.lines());
        let lines = text.lines().enumerate().map(|(index, line)| {
            let mut chars: Vec<char> = line.chars().collect();
            for (_, range) in hidden.iter().filter(|(at, _)| *at == index + 1) {
                chars[range.clone()].fill('*');
            }
            chars.into_iter().collect::<String>()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn values_that_may_be_secrets_are_hidden_wherever_they_stand() {
        for (text, expected) in [
            (
                "http: {url: u, headers: {A: \"s, }\", b: 's''s'}, methd: GET}",
                "http: {url: u, headers: {A: ******, b: ******}, methd: GET}",
            ),
            (
                "http: {heders: {A: s}, body: s, timeout: 1s}",
                "http: {heders: {A: *}, body: *, timeout: 1s}",
            ),
            (
                "external-id: s # or s\nregion: r # not",
                "external-id: * ******\nregion: r # not",
            ),
            (
                "- headers:\n    A: s\n    b: s\n      s: s\n  url: u",
                "- headers:\n    A: *\n    b: *\n      ****\n  url: u",
            ),
            (
                "http:\n  body: |\n    s: \"s\n\n    s\n  url: u",
                "http:\n  body: *\n    *****\n\n    *\n  url: u",
            ),
            (
                "shell: |\n  echo \"it's {\nheaders: {A: s}",
                "shell: |\n  echo \"it's {\nheaders: {A: *}",
            ),
            (
                "{headers: {A: \"s\n  s\", B:\n s\n},\nurl: u}",
                "{headers: {A: **\n  **, B:\n *\n},\nurl: u}",
            ),
            (
                "aws: {secret_access_key: s, region: r}",
                "aws: {secret_access_key: *, region: r}",
            ),
            ("Authorization: Bearer s", "Authorization: ********"),
            (
                "\"Authorization\": |\n  Bearer s\nauth: {unit: u}",
                "\"Authorization\": *\n  ********\nauth: {unit: u}",
            ),
            (
                "/etc/passwd: {from: nobody}\nnobody: n",
                "/etc/passwd: {from: nobody}\nnobody: n",
            ),
            (
                "url: \"http://u:p@h:1/a?t=s\"",
                "url: \"http://***@h:1/a?***\"",
            ),
            ("url: http://h/a, b", "url: http://h/a, b"),
            (
                "from: limits\nmode: [1, 'a: b'] # c",
                "from: limits\nmode: [1, 'a: b'] # c",
            ),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_its_end_and_a_piece_lies_in_its_line(text in "([a-z:{}#'\"|?@/\\\\ \t,\\[\\]-]|headers: |\n)*") {
            let lines: Vec<&str> = text.lines().collect();
            for (line, range) in hidden(lines.iter()) {
                proptest::prop_assert!(range.start <= range.end);
                proptest::prop_assert!(range.end <= lines[line - 1].chars().count());
            }
        }
    }
}
