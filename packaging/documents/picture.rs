//! docs/status.svg: what `appconfigd status` shows on a terminal, from screens that were kept of a run of the tests.

/// One after the other, each with the command line above it.
pub fn of(screens: &[&str]) -> String {
    let mut lines = Vec::new();
    for screen in screens {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(PROMPT.to_owned());
        lines.extend(screen.lines().map(str::to_owned));
    }
    let height = TOP * 2 + lines.len() * LINE;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>appconfigd status</title>\n\
         <style>\n\
         text {{ font: 14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #d3d7cf; white-space: pre }}\n\
         .well {{ fill: #8ae234 }} .wary {{ fill: #fce94f }} .bad {{ fill: #ef5350 }} .faint {{ fill: #888a85 }}\n\
         </style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"6\" fill=\"#1e1e1e\"/>\n"
    );
    // The column of states, from the heading of the table that the line is in.
    let mut column = None;
    for (index, line) in lines.iter().enumerate() {
        if line == PROMPT {
            column = None;
        } else if line.starts_with(|c: char| c.is_ascii_uppercase()) {
            column = line.find("STATE");
        }
        if line.is_empty() {
            continue;
        }
        let y = TOP + (index + 1) * LINE - 5;
        let text = toned(line, column);
        picture.push_str(&format!(
            "<text x=\"{LEFT}\" y=\"{y}\" xml:space=\"preserve\">{text}</text>\n"
        ));
    }
    picture.push_str("</svg>\n");
    picture
}

const PROMPT: &str = "$ appconfigd status";
const WIDTH: usize = 720;
const LEFT: usize = 16;
const TOP: usize = 12;
const LINE: usize = 20;

/// How states look on a terminal.
const TONES: [(&str, &[&str]); 3] = [
    (
        "well",
        &[
            "healthy",
            "current",
            "in sync",
            "acknowledged",
            "not running",
        ],
    ),
    (
        "wary",
        &[
            "degraded",
            "held",
            "unreachable",
            "waiting",
            "drifted",
            "pending",
        ],
    ),
    ("bad", &["failed", "refused", "quarantined", "missing"]),
];

/// The line with its state in its colour: the first word of a screen, or what stands in the column of states.
fn toned(line: &str, column: Option<usize>) -> String {
    let heading = line.starts_with(|c: char| c.is_ascii_uppercase());
    if heading || line == PROMPT {
        return format!("<tspan class=\"faint\">{}</tspan>", escaped(line));
    }
    let at = match column {
        None => Some(0),
        Some(column) => (!line.starts_with(' ')).then_some(column),
    };
    let found = at.and_then(|at| line.get(at..).map(|rest| (at, rest)));
    let found = found.and_then(|(at, rest)| {
        let tones = TONES.iter();
        let mut words = tones.flat_map(|(tone, words)| words.iter().map(move |word| (tone, word)));
        let (tone, word) = words.find(|(_, word)| rest.starts_with(**word))?;
        Some((at, *tone, word.len()))
    });
    let Some((at, tone, length)) = found else {
        return escaped(line);
    };
    let (before, rest) = line.split_at(at);
    let (state, after) = rest.split_at(length);
    format!(
        "{}<tspan class=\"{tone}\">{state}</tspan>{}",
        escaped(before),
        escaped(after)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
