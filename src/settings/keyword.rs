//! Values that are one word of a few.

use std::str::FromStr;

use super::field::Written;
use super::finding::Findings;
use super::node::{Kind, Node};
use super::reference::Tables;
use super::suggestion;
use super::valid::{
    Format, HttpMethod, OnChange, OnDrift, OnFailure, OnStart, ReloadVerb, Restart, Sandbox,
    Signal, Symlink,
};
use super::written::Changed;

/// A type whose values have a word each.
trait Word: Copy + 'static {
    /// What one of them is, in messages.
    const NOUN: &str;
    const WORDS: &[(&str, Self)];
}

impl<T: Word> Written for T {
    fn read(node: &Node, findings: &mut Findings) -> Option<T> {
        let text = node.text(T::NOUN, findings)?;
        if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let help = match suggestion::nearest(text, known.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("write one of {}", suggestion::list(&known)),
        };
        findings
            .error(node.at, format!("`{text}` is not {}", T::NOUN))
            .help(help);
        None
    }

    fn kind(_: &mut Tables) -> String {
        let words = T::WORDS.iter().map(|(word, _)| format!("`{word}`"));
        words.collect::<Vec<_>>().join(", ")
    }
}

impl Word for Format {
    const NOUN: &str = "a format";
    const WORDS: &[(&str, Format)] = &[
        ("json", Format::Json),
        ("yaml", Format::Yaml),
        ("toml", Format::Toml),
        ("text", Format::Text),
    ];
}

impl Word for Symlink {
    const NOUN: &str = "a way to deal with a link";
    const WORDS: &[(&str, Symlink)] = &[("refuse", Symlink::Refuse), ("follow", Symlink::Follow)];
}

impl Word for OnFailure {
    const NOUN: &str = "a way to deal with a failure";
    const WORDS: &[(&str, OnFailure)] =
        &[("rollback", OnFailure::Rollback), ("keep", OnFailure::Keep)];
}

impl Word for OnStart {
    const NOUN: &str = "a way to deal with the start";
    const WORDS: &[(&str, OnStart)] = &[
        ("if_pending", OnStart::IfPending),
        ("always", OnStart::Always),
    ];
}

impl Word for OnDrift {
    const NOUN: &str = "a way to deal with drift";
    const WORDS: &[(&str, OnDrift)] = &[
        ("restore", OnDrift::Restore),
        ("report", OnDrift::Report),
        ("ignore", OnDrift::Ignore),
    ];
}

impl Word for ReloadVerb {
    const NOUN: &str = "a verb of systemctl for this";
    const WORDS: &[(&str, ReloadVerb)] = &[
        ("reload", ReloadVerb::Reload),
        ("restart", ReloadVerb::Restart),
        ("reload-or-restart", ReloadVerb::ReloadOrRestart),
        ("try-restart", ReloadVerb::TryRestart),
        ("try-reload-or-restart", ReloadVerb::TryReloadOrRestart),
        ("start", ReloadVerb::Start),
    ];
}

impl Word for Sandbox {
    const NOUN: &str = "a sandbox";
    const WORDS: &[(&str, Sandbox)] = &[("none", Sandbox::None), ("ours", Sandbox::Ours)];
}

impl Word for HttpMethod {
    const NOUN: &str = "a method of HTTP for this";
    const WORDS: &[(&str, HttpMethod)] = &[
        ("POST", HttpMethod::Post),
        ("GET", HttpMethod::Get),
        ("PUT", HttpMethod::Put),
        ("PATCH", HttpMethod::Patch),
        ("DELETE", HttpMethod::Delete),
    ];
}

/// No process has a say in what happens on these.
const NOT_CATCHABLE: [&str; 2] = ["KILL", "STOP"];
/// What programs mostly take for the order to end, which counts as a no.
const ENDING: [&str; 3] = ["TERM", "INT", "QUIT"];

impl Written for Signal {
    /// With or without `SIG`.
    fn read(node: &Node, findings: &mut Findings) -> Option<Signal> {
        let text = node.text("a signal's name", findings)?;
        let signal = any(node, findings)?;
        let name = signal.name.as_str();
        if NOT_CATCHABLE.contains(&name) {
            findings
                .error(node.at, format!("no process can read its files on `{text}`"))
                .help("name the signal on which it does, mostly `HUP`; `reload: {unit: …, verb: restart}` starts a unit anew");
            return None;
        }
        if ENDING.contains(&name) {
            findings
                .warning(
                    node.at,
                    format!("most programs end on `{text}`, and one that ends has said no: its files go back"),
                )
                .help("name the signal on which it reads its files, mostly `HUP`; `reload: {unit: …, verb: restart}` starts a unit anew");
        }
        Some(signal)
    }

    fn kind(_: &mut Tables) -> String {
        "signal".to_owned()
    }
}

/// A signal that tells a process to end.
#[derive(Clone, Debug)]
pub struct Ending(pub Signal);

impl Written for Ending {
    fn read(node: &Node, findings: &mut Findings) -> Option<Ending> {
        let signal = any(node, findings)?;
        if signal.name == "STOP" {
            findings
                .error(node.at, "no process ends on `STOP`")
                .help("name the signal on which it ends, mostly `TERM`");
            return None;
        }
        Some(Ending(signal))
    }

    fn kind(_: &mut Tables) -> String {
        "signal".to_owned()
    }
}

fn any(node: &Node, findings: &mut Findings) -> Option<Signal> {
    use nix::sys::signal::Signal as Known;
    let text = node.text("a signal's name", findings)?;
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let Ok(known) = Known::from_str(&format!("SIG{name}")) else {
        findings
            .error(node.at, format!("`{text}` is not a signal's name"))
            .help(instead_of(name));
        return None;
    };
    Some(Signal {
        name: name.to_owned(),
        number: known as i32,
    })
}

impl Word for Restart {
    const NOUN: &str = "a rule for starting again";
    const WORDS: &[(&str, Restart)] = &[
        ("no", Restart::Never),
        ("on-failure", Restart::OnFailure),
        ("always", Restart::Always),
    ];
}

impl Written for OnChange {
    fn read(node: &Node, findings: &mut Findings) -> Option<OnChange> {
        if matches!(node.kind, Kind::Mapping(_)) {
            let changed = Changed::read(node, findings)?;
            if changed.signal.is_absent() {
                findings
                    .error(node.at, "`on_change` has no `signal`")
                    .help("write `on_change: {signal: HUP}`, or `on_change: restart`");
            }
            return changed.signal.value().cloned().map(OnChange::Signal);
        }
        if node.text("what is to be done", findings)? == "restart" {
            return Some(OnChange::Restart);
        }
        findings
            .error(node.at, "this is not a way to deal with a change")
            .help("write `restart`, or `{signal: HUP}` for a program that reads its files on a signal");
        None
    }

    fn kind(tables: &mut Tables) -> String {
        Changed::kind(tables);
        "`restart`, or `{signal: …}`".to_owned()
    }
}

/// Help for what is no signal's name.
fn instead_of(name: &str) -> String {
    let upper = name.to_uppercase();
    let upper = upper.strip_prefix("SIG").unwrap_or(&upper);
    if upper.starts_with("RTM") {
        return "real-time signals cannot be sent: a `command` can send them".to_owned();
    }
    let known = nix::sys::signal::Signal::iterator()
        .map(|signal| signal.as_str().trim_start_matches("SIG"));
    match suggestion::nearest(upper, known) {
        Some(word) => format!("did you mean `{word}`?"),
        None => "write a name such as `HUP`, `USR1` or `USR2`".to_owned(),
    }
}
