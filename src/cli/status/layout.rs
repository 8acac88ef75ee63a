//! Tables and paragraphs on a screen of 80 columns.

use crate::words::escape;

pub const WIDTH: usize = 80;
/// Between two columns.
const GAP: usize = 2;
/// Of what is said below a row.
const INDENT: usize = 2;

/// How a state looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Well,
    Wary,
    Bad,
    /// Of headings.
    Faint,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Well => "32",
            Tone::Wary => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        }
    }
}

/// What is being written, with or without colours.
#[derive(Debug)]
pub struct Page {
    pub text: String,
    colours: bool,
}

/// A row of a table: its cells, the tone of the second one, and what is said below it.
#[derive(Debug)]
pub struct Row {
    pub cells: Vec<String>,
    pub tone: Tone,
    pub below: Vec<(&'static str, String)>,
}

impl Page {
    pub fn new(colours: bool) -> Page {
        Page {
            text: String::new(),
            colours,
        }
    }

    pub fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    pub fn toned(&self, tone: Tone, text: &str) -> String {
        match self.colours {
            true => format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code()),
            false => text.to_owned(),
        }
    }

    /// A blank line, the heading, the rows. The first column takes what the others leave; a name that is longer has a
    /// line of its own.
    pub fn table(&mut self, heading: &[&str], rows: &[Row]) {
        if rows.is_empty() {
            return;
        }
        let mut widths: Vec<usize> = heading.iter().map(|cell| length(cell)).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = length(cell).max(*width);
            }
        }
        let others: usize = widths.iter().skip(1).map(|width| width + GAP).sum();
        let room = WIDTH.saturating_sub(others);
        if let Some(first) = widths.first_mut() {
            *first = (*first).min(room);
        }
        self.text.push('\n');
        let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
        let line = aligned(&heading, &widths, |_, cell| cell);
        let line = self.toned(Tone::Faint, line.trim_end());
        self.line(&line);
        for row in rows {
            self.row(row, &widths);
        }
    }

    fn row(&mut self, row: &Row, widths: &[usize]) {
        let mut cells = row.cells.clone();
        let room = widths.first().copied().unwrap_or_default();
        if let Some(name) = cells.first_mut()
            && length(name) > room
        {
            let name = std::mem::take(name);
            self.line(&name);
        }
        let line = aligned(&cells, widths, |column, cell| match column {
            1 => self.toned(row.tone, &cell),
            _ => cell,
        });
        self.line(&line);
        for (word, text) in &row.below {
            self.below(word, text);
        }
    }

    /// `  why: …`, its further lines below the first one's text.
    pub fn below(&mut self, word: &str, text: &str) {
        let lead = match word {
            "" => String::new(),
            word => format!("{word}: "),
        };
        let deeper = INDENT + length(&lead).max(INDENT);
        self.hanging(&format!("{:INDENT$}{lead}", ""), deeper, text);
    }

    /// A paragraph that begins with `lead`, its further lines `indent` deep.
    pub fn hanging(&mut self, lead: &str, indent: usize, text: &str) {
        let mut line = lead.to_owned();
        let mut begun = false;
        // Lines of others' (a schema has several complaints) become words of one paragraph.
        let text = escape(text, &['\n']).replace('\n', " ");
        for word in words(&text) {
            let needed = length(&line) + usize::from(begun) + length(word);
            if begun && needed > WIDTH {
                self.line(&line);
                line = format!("{:indent$}{word}", "");
                continue;
            }
            if begun {
                line.push(' ');
            }
            line.push_str(word);
            begun = true;
        }
        self.line(&line);
    }
}

/// Cells in columns.
fn aligned(cells: &[String], widths: &[usize], toned: impl Fn(usize, String) -> String) -> String {
    let mut line = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let missing = width.saturating_sub(length(cell)) + GAP;
        line.push_str(&toned(column, cell.clone()));
        line.extend(std::iter::repeat_n(' ', missing));
    }
    line
}

/// Words between spaces; a command in backticks is one word as long as it fits a line, so that it can be copied.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, character) in text.char_indices() {
        match character {
            '`' if quoted => quoted = false,
            '`' => {
                let rest = text.get(at + 1..).unwrap_or_default();
                quoted = rest.find('`').is_some_and(|end| end < WIDTH / 2);
            }
            ' ' if !quoted => {
                words.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    words.push(text.get(start..).unwrap_or_default());
    let parts = words.into_iter().flat_map(|word| {
        let whole = length(word) <= WIDTH / 2;
        let spaces = if whole { '\0' } else { ' ' };
        word.split(spaces)
    });
    parts.filter(|word| !word.is_empty()).collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(name: &str, below: &str) -> Row {
        Row {
            cells: vec![name.to_owned(), "current".to_owned()],
            tone: Tone::Well,
            below: vec![("why", below.to_owned())],
        }
    }

    #[test]
    fn a_long_name_has_a_line_of_its_own_and_columns_stay() {
        let mut page = Page::new(false);
        let long = "x".repeat(75);
        page.table(&["NAME", "STATE"], &[row("a", "b"), row(&long, "c")]);
        let room = " ".repeat(71);
        assert_eq!(
            page.text,
            format!(
                "\nNAME{}  STATE\na{}  current\n  why: b\n{long}\n{room}  current\n  why: c\n",
                " ".repeat(67),
                " ".repeat(70)
            )
        );
    }

    #[test]
    fn a_command_is_not_torn() {
        let mut page = Page::new(false);
        page.below(
            "next",
            &format!("{} `appconfigd retry limits`", "word ".repeat(12)),
        );
        assert!(
            page.text.ends_with("\n        `appconfigd retry limits`\n"),
            "{}",
            page.text
        );
    }

    #[test]
    fn colours_are_there_when_asked_for_and_move_no_column() {
        let mut page = Page::new(true);
        page.table(
            &["NAME", "STATE", "AGE"],
            &[Row {
                cells: vec!["a".into(), "failed".into(), "3 d".into()],
                tone: Tone::Bad,
                below: Vec::new(),
            }],
        );
        assert!(
            page.text.contains("a     \u{1b}[31mfailed\u{1b}[0m  3 d"),
            "{:?}",
            page.text
        );
    }

    proptest! {
        #[test]
        fn paragraphs_of_words_fit(words in proptest::collection::vec("[a-z`]{1,30}", 0..40)) {
            let mut page = Page::new(false);
            let text = words.join(" ");
            page.below("why", &text);
            let said: Vec<&str> = page.text.split_whitespace().skip(1).collect();
            prop_assert_eq!(said.join(" "), text);
            for line in page.text.lines() {
                prop_assert!(line.chars().count() <= WIDTH, "{}", line);
            }
        }
    }
}
