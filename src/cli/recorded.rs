//! What the ledger has recorded, read beside a daemon or without one, under the names that the daemon or else the settings
//! give it.

use std::path::PathBuf;

use super::screen::err;
use super::start::{Place, refused, silent};
use super::{Exit, Globals};
use crate::daemon::control::{Client, ControlError};
use crate::daemon::history::Declared;
use crate::daemon::{StartError, offline_source};
use crate::ledger::{CommandRun, Ledger, LedgerError, State};
use crate::protocol::Digest;

/// The fewest digits of a digest that name a version.
const FEWEST_DIGITS: usize = 8;

pub struct Recorded {
    pub declared: Declared,
    pub state: State,
    directory: PathBuf,
    /// The alternate root of the targets.
    pub root: Option<PathBuf>,
}

impl Recorded {
    /// A daemon is asked for the names alone: it knows its own region and role, which are part of what is whose.
    pub async fn read(globals: &Globals) -> Result<Recorded, Exit> {
        let place = Place::of(globals);
        let directory = place.directories.state.clone();
        let connected = Client::connect(&place.socket()).await;
        let settings = place.settings();
        let (declared, root) = match connected {
            Ok(client) => {
                let declared = client.declared().await.map_err(|error| silent(&error))?;
                (declared, settings.ok().and_then(|settings| settings.root))
            }
            Err(ControlError::NoDaemon(_)) => {
                let settings = settings?;
                let source = offline_source(&settings).await.map_err(|fault| {
                    err!("error: {}", fault.message);
                    Exit::Failed
                })?;
                (Declared::by_settings(&settings, &source), settings.root)
            }
            Err(error) => return Err(silent(&error)),
        };
        let state = Ledger::read(&directory).map_err(|error| unread(error, &directory))?;
        Ok(Recorded {
            declared,
            state: state.unwrap_or_default(),
            directory,
            root,
        })
    }

    /// What commands wrote, the oldest first.
    pub fn runs(&self) -> Result<Vec<CommandRun>, Exit> {
        Ledger::read_runs(&self.directory).map_err(|error| unread(error, &self.directory))
    }

    pub fn body(&self, digest: Digest) -> Result<Vec<u8>, Exit> {
        let body = Ledger::read_body(&self.directory, digest);
        let body = body.map_err(|error| unread(error, &self.directory))?;
        body.map(Vec::from).ok_or_else(|| {
            err!(
                "error: {} has left the history; `appconfigd history` shows what is there",
                digest.short()
            );
            Exit::NoInput
        })
    }
}

fn unread(error: LedgerError, directory: &std::path::Path) -> Exit {
    refused(&StartError::Ledger(error), directory)
}

/// The one version that a word of the command line names: a label, or at least 8 hexadecimal digits of a digest.
pub fn choose(
    word: &str,
    versions: &[(Digest, Option<&str>)],
    whose: &str,
) -> Result<Digest, Exit> {
    let digits = word.strip_prefix("sha256:").unwrap_or(word);
    let digits = digits.to_ascii_lowercase();
    let enough = digits.len() >= FEWEST_DIGITS;
    let mut found: Vec<&(Digest, Option<&str>)> = versions
        .iter()
        .filter(|(digest, label)| {
            *label == Some(word) || (enough && digest.hex().starts_with(&digits))
        })
        .collect();
    found.sort_by_key(|(digest, _)| *digest);
    found.dedup_by_key(|(digest, _)| *digest);
    match found.as_slice() {
        [(digest, _)] => Ok(*digest),
        [] => {
            err!(
                "error: `{word}` is no version of {whose}: a version is a label, or at least {FEWEST_DIGITS} digits of a \
                 digest; `appconfigd history` lists them"
            );
            Err(Exit::NoInput)
        }
        several => {
            err!(
                "error: `{word}` names {} versions of {whose}:",
                several.len()
            );
            for (digest, label) in several {
                let label = label.map_or(String::new(), |label| format!(" ({label})"));
                err!("  {}{label}", digest.hex());
            }
            Err(Exit::NoInput)
        }
    }
}
