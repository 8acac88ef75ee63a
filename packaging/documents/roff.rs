//! Markdown as roff: as much of either as our documents use.

/// Paragraphs, lists, tables, code and headings. A heading is a section of the page where it has more than `level` marks
/// less than three, else a subsection.
pub fn of(markdown: &str, level: usize) -> String {
    let mut page = String::new();
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("<!--") {
            // Where the tables of keys stand.
        } else if line.starts_with("```") {
            let code: Vec<&str> = lines
                .by_ref()
                .take_while(|line| !line.starts_with("```"))
                .collect();
            page.push_str(".PP\n.RS 4\n.nf\n");
            for line in code {
                page.push_str(&escaped(line));
                page.push('\n');
            }
            page.push_str(".fi\n.RE\n");
        } else if let Some(title) = line.strip_prefix("## ").filter(|_| level == 1) {
            page.push_str(&format!(".SH {}\n", escaped(&title.to_uppercase())));
        } else if let Some(title) = line.strip_prefix("### ").filter(|_| level == 1) {
            page.push_str(&format!(".SS {}\n", escaped(title)));
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(row);
            }
            table(&mut page, &rows);
        } else if line.starts_with("- ") {
            let mut item = line.trim_start_matches("- ").to_owned();
            while let Some(more) = lines.next_if(|line| line.starts_with("  ")) {
                item.push(' ');
                item.push_str(more.trim());
            }
            page.push_str(&format!(".IP \\(bu 2\n{}\n", prose(&item)));
        } else if !line.trim().is_empty() {
            let mut text = line.to_owned();
            let goes_on = |line: &&str| {
                !line.trim().is_empty()
                    && !line.starts_with(['|', '#', '<'])
                    && !line.starts_with("```")
                    && !line.starts_with("- ")
            };
            while let Some(more) = lines.next_if(goes_on) {
                text.push('\n');
                text.push_str(more);
            }
            let text: Vec<String> = vec![prose(&text.replace('\n', " "))];
            page.push_str(&format!(".PP\n{}\n", text.join("\n")));
        }
    }
    page
}

/// A row is a tagged paragraph: the first cell is the tag, a column `default` follows it.
fn table(page: &mut String, rows: &[&str]) {
    let cells = |row: &str| -> Vec<String> {
        // A bar in a code span is written `\|`.
        let row = row.trim().trim_matches('|').replace("\\|", "\u{1}");
        let cells = row.split('|').map(|cell| cell.trim().replace('\u{1}', "|"));
        cells.collect()
    };
    let head = rows.first().map(|row| cells(row)).unwrap_or_default();
    for row in rows.iter().skip(2) {
        let cells = cells(row);
        let Some((tag, rest)) = cells.split_first() else {
            continue;
        };
        let rest: Vec<String> = rest
            .iter()
            .zip(head.iter().skip(1))
            .filter(|(cell, _)| !cell.is_empty())
            .map(|(cell, head)| match head.as_str() {
                "default" => format!("Default: {}.", prose(cell)),
                "value" => format!("Value: {}.", prose(cell)),
                "variable" => format!("Variable: {}.", prose(cell)),
                _ => prose(cell),
            })
            .collect();
        page.push_str(&format!(".TP\n{}\n{}\n", prose(tag), rest.join("\n.br\n")));
    }
}

/// Text with code spans and emphasis in bold, links as their words.
fn prose(text: &str) -> String {
    let mut page = String::new();
    for (index, span) in text.split('`').enumerate() {
        if index % 2 == 1 {
            page.push_str(&format!("\\fB{}\\fR", escaped(span)));
            continue;
        }
        let mut rest = span;
        let mut plain = String::new();
        // `[words](target)`; the words may hold a code span, then the brackets stand in two pieces.
        while let Some(at) = rest.find("](") {
            let (before, after) = rest.split_at(at);
            plain.push_str(&before.replace('[', ""));
            rest = after.split_once(')').map_or("", |(_, rest)| rest);
        }
        plain.push_str(&rest.replace('[', ""));
        for (index, words) in plain.split("**").enumerate() {
            let words = escaped(words);
            match index % 2 {
                0 => page.push_str(&words),
                _ => page.push_str(&format!("\\fB{words}\\fR")),
            }
        }
    }
    // A request begins a line; text must not.
    match page.starts_with(['.', '\'']) {
        true => format!("\\&{page}"),
        false => page,
    }
}

/// Bytes as they are, whatever they mean to roff.
pub fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\u{a0}', " ")
        .replace('…', "...")
        .replace('→', "->");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}
