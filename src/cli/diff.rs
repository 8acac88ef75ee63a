//! `diff`: two versions of a configuration, or a file that was kept beside the one that is there.

use super::plan::diff::between;
use super::plan::files::trees;
use super::recorded::{Recorded, choose};
use super::screen::{err, out, unknown};
use super::start::runtime;
use super::{Exit, Globals};
use crate::daemon::history::{DeclaredProfile, versions};
use crate::install::Installer;
use crate::protocol::Digest;
use crate::settings::{ProfileName, TargetPath};
use crate::words::with_causes;

/// Compares versions of a profile, or a file that was kept with the one that is there; also without a daemon
#[derive(clap::Args, Debug)]
#[command(after_help = MORE)]
pub struct Arguments {
    /// A profile, or a target of which `history` has a file
    #[arg(value_name = "PROFILE|PATH")]
    name: String,
    /// A label, or at least 8 digits of a digest
    #[arg(value_name = "VERSION")]
    from: Option<String>,
    /// Of a profile: the one to compare that with
    #[arg(value_name = "VERSION", requires = "from")]
    to: Option<String>,
    /// Show bodies also of what is sensitive
    #[arg(long)]
    show_sensitive: bool,
}

const MORE: &str = "\
Without a version: what is installed against what was received last. With one: what is installed against it. With two: \
the first against the second. Of a target: the file that was kept last, or the one named, against the file that is there.

Exit: 0 no difference, 2 a difference, 66 no such profile, target or version.";

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let read = runtime().and_then(|runtime| runtime.block_on(Recorded::read(globals)));
        match read.and_then(|recorded| self.compare(&recorded)) {
            Ok(exit) | Err(exit) => exit,
        }
    }

    fn compare(&self, recorded: &Recorded) -> Result<Exit, Exit> {
        let targets = &recorded.declared.targets;
        let path = TargetPath::meant(&self.name, |path| targets.contains_key(path));
        if let Some(profile) = recorded
            .declared
            .profiles
            .get(&ProfileName::from(self.name.as_str()))
        {
            return self.versions(profile, recorded);
        }
        if let Some(path) = path
            && let Some(sensitive) = recorded.declared.targets.get(&path)
        {
            return self.files(&path, *sensitive, recorded);
        }
        Err(unknown("profile or target", &self.name))
    }

    fn versions(&self, profile: &DeclaredProfile, recorded: &Recorded) -> Result<Exit, Exit> {
        let (identity, state) = (&profile.identity, &recorded.state);
        let known: Vec<(Digest, Option<&str>)> = versions(identity, state)
            .into_iter()
            .map(|version| (version.digest, version.label.as_deref()))
            .collect();
        let whose = format!("profile `{}`", self.name);
        let named = |word: &String| choose(word, &known, &whose);
        let installed = state.accepted.get(identity).map(|version| version.digest);
        let received = state.received.get(identity).map(|version| version.digest);
        let (from, to) = match (&self.from, &self.to) {
            (Some(from), Some(to)) => (Some(named(from)?), named(to)?),
            (Some(to), None) => (installed, named(to)?),
            (None, _) => match received {
                Some(received) => (installed, received),
                None => {
                    err!("error: {whose} has received nothing yet");
                    return Err(Exit::NoInput);
                }
            },
        };
        let before = from.map(|digest| recorded.body(digest)).transpose()?;
        let after = recorded.body(to)?;
        let header = |digest: Digest| format!("{} {}", self.name, digest.short());
        let from = from.map_or("nothing installed".to_owned(), header);
        Ok(self.show(&from, before, &header(to), &after, profile.sensitive))
    }

    fn files(&self, path: &TargetPath, sensitive: bool, recorded: &Recorded) -> Result<Exit, Exit> {
        if self.to.is_some() {
            err!(
                "error: of a target one version is compared with the file that is there: name one"
            );
            return Err(Exit::Usage);
        }
        let files = recorded.state.found_files.iter();
        let known: Vec<(Digest, Option<&str>)> = files
            .filter(|file| file.target == *path)
            .map(|file| (file.digest, None))
            .collect();
        let whose = format!("target `{path}`");
        let kept = match (&self.from, known.last()) {
            (Some(word), _) => choose(word, &known, &whose)?,
            (None, Some((newest, _))) => *newest,
            (None, None) => {
                err!("error: no file of {whose} is kept in history");
                return Err(Exit::NoInput);
            }
        };
        let there = Installer::new(recorded.root.clone()).read(path);
        let there = there.map_err(|error| {
            err!("error: {}", with_causes(&error));
            Exit::Failed
        })?;
        let there = there.map(|file| file.bytes).unwrap_or_default();
        let before = recorded.body(kept)?;
        let from = format!("{path} {}", kept.short());
        if path.is_directory() && (!sensitive || self.show_sensitive) && before != there {
            let shown = trees(&from, path.as_str(), Some(&before.into()), &there);
            out!("{}", shown.trim_end_matches('\n'));
            return Ok(Exit::Different);
        }
        Ok(self.show(&from, Some(before), path.as_str(), &there, sensitive))
    }

    fn show(
        &self,
        from: &str,
        before: Option<Vec<u8>>,
        to: &str,
        after: &[u8],
        sensitive: bool,
    ) -> Exit {
        if before.as_deref() == Some(after) {
            return Exit::Done;
        }
        if sensitive && !self.show_sensitive {
            let was = before.map_or(0, |bytes| bytes.len());
            out!("{from}: {was} bytes");
            out!("{to}: {} bytes", after.len());
            out!("they differ; the profile is sensitive: `--show-sensitive` shows how");
        } else {
            let shown = between(from, to, before.as_deref(), after);
            out!("{}", shown.trim_end_matches('\n'));
        }
        Exit::Different
    }
}
