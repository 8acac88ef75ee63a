//! `fetch`: one configuration, once, in a session of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Runtime;

use crate::clock::Clock;
use crate::install::{InstallError, Installer, Kept, Placement, Wanted};
use crate::protocol::{Configuration, Digest};
use crate::settings::{
    AwsSettings, Profile, ProfileName, Settings, SourceSettings, TargetPath, Validate,
};
use crate::source::{Fault, FaultKind, Source};
use crate::words::with_causes;

use super::first::{Miss, first_configuration};
use super::limit::limit;
use super::screen::err;
use super::start::runtime;
use super::{Exit, Globals};

/// After so long nobody shall have to guess what it waits for: as soon as that is known, and at the latest.
const SILENCE: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(7)];

/// Fetches one configuration and writes it as it came
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Name or ID of the application
    #[arg(value_parser = name)]
    application: String,
    /// Name or ID of the environment
    #[arg(value_parser = name)]
    environment: String,
    /// Name or ID of the configuration profile
    #[arg(value_parser = name)]
    profile: String,
    /// Replaces FILE in one step [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Writes content type, version label, digest and poll interval to FILE as JSON
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// Used as it is, instead of the service's own endpoint
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint_url: Option<String>,
    /// Instead of the region of the environment or the shared config file
    #[arg(long, value_name = "REGION", value_parser = name)]
    region: Option<String>,
    /// Faults that may pass are tried again until then
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = limit)]
    timeout: Duration,
}

/// What `--metadata` gets.
#[derive(Serialize)]
struct Metadata<'a> {
    content_type: Option<&'a str>,
    version_label: Option<&'a str>,
    digest: Digest,
    poll_interval_seconds: u64,
}

/// How it ends when there is nothing to write.
struct Ended {
    exit: Exit,
    message: String,
}

impl Arguments {
    pub fn run(self, _globals: &Globals) -> Exit {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(exit) => return exit,
        };
        match self.carry_out(&runtime) {
            Ok(()) => Exit::Done,
            Err(ended) => {
                err!("error: {}", ended.message);
                ended.exit
            }
        }
    }

    fn carry_out(&self, runtime: &Runtime) -> Result<(), Ended> {
        // Before the network: what cannot be written need not be fetched.
        let output = self.output.as_deref().map(target).transpose()?;
        let metadata = self.metadata.as_deref().map(target).transpose()?;
        if output.is_some() && output == metadata {
            return Err(Ended::usage(
                "`--output` and `--metadata` name the same file".into(),
            ));
        }
        let (configuration, interval) = runtime.block_on(self.fetch())?;
        let about = Metadata {
            content_type: configuration.content_type(),
            version_label: configuration.label(),
            digest: configuration.digest(),
            poll_interval_seconds: interval.as_secs(),
        };
        let mut about = serde_json::to_vec(&about)
            .map_err(|error| Ended::failed(format!("cannot write the metadata: {error}")))?;
        about.push(b'\n');
        let mut files: Vec<(&TargetPath, &[u8])> = Vec::new();
        files.extend(
            output
                .iter()
                .map(|target| (target, configuration.bytes().as_ref())),
        );
        files.extend(metadata.iter().map(|target| (target, about.as_slice())));
        if !files.is_empty() {
            replace(&files)?;
        }
        if output.is_none() {
            print(configuration.bytes())?;
        }
        Ok(())
    }

    /// The configuration and the answered interval, within the time limit.
    async fn fetch(&self) -> Result<(Configuration, Duration), Ended> {
        let last = RefCell::new(None);
        let trying = tokio::time::timeout(self.timeout, self.try_to_fetch(&last));
        let mut trying = std::pin::pin!(trying);
        let ended = tokio::select! {
            biased;
            ended = &mut trying => ended,
            () = self.say_why(&last) => trying.await,
        };
        match ended {
            Ok(ended) => ended,
            Err(_) => Err(last.take().map_or_else(
                || {
                    let message = "no answer came in time: is the endpoint right and reachable? `--timeout` waits longer";
                    Ended {
                        exit: Exit::Unreachable,
                        message: message.into(),
                    }
                },
                |fault: Fault| {
                    let message = format!(
                        "gave up after {:?} (`--timeout` waits longer): {}",
                        self.timeout, fault.message
                    );
                    Ended {
                        exit: exit(fault.kind),
                        message,
                    }
                },
            )),
        }
    }

    /// Once, not for every try.
    async fn say_why(&self, last: &RefCell<Option<Fault>>) {
        let [soon, late] = SILENCE;
        tokio::time::sleep(soon).await;
        if last.borrow().is_none() {
            tokio::time::sleep(late.saturating_sub(soon)).await;
        }
        let last = last.borrow();
        let why = last.as_ref().map(|fault| fault.message.as_str());
        err!(
            "still trying, for {:?} in all (`--timeout`): {}",
            self.timeout,
            why.unwrap_or("no answer has come yet")
        );
    }

    /// Goes on as long as the fault may pass; the last one is left behind.
    async fn try_to_fetch(
        &self,
        last: &RefCell<Option<Fault>>,
    ) -> Result<(Configuration, Duration), Ended> {
        let source = Source::new(&self.settings(), None)
            .await
            .map_err(Ended::of)?;
        let profile = Arc::new(self.profile());
        first_configuration(profile, source, Clock::system(), |fault| {
            last.replace(Some(fault));
        })
        .await
        .map_err(|miss| match miss {
            Miss::Fault(fault) => Ended::of(fault),
            Miss::Empty => Ended::failed(format!(
                "the configuration of profile `{}` is empty; nothing was written: \
                     deploy a version that is not",
                self.profile
            )),
        })
    }

    /// Zero: no interval is asked for, a single call needs none.
    fn profile(&self) -> Profile {
        Profile {
            name: ProfileName::from(self.profile.as_str()),
            application: self.application.clone(),
            environment: self.environment.clone(),
            configuration_profile: self.profile.clone(),
            poll_interval: Duration::ZERO,
            required: true,
            sensitive: false,
            validate: Validate::default(),
            assume_role: None,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            file: PathBuf::new(),
            directory: PathBuf::new(),
            source: SourceSettings::Aws(AwsSettings {
                region: self.region.clone(),
                endpoint_url: self.endpoint_url.clone(),
                ..AwsSettings::default()
            }),
            root: None,
            ready_timeout: Duration::ZERO,
            stop_timeout: Duration::ZERO,
            metrics: None,
            profiles: BTreeMap::new(),
            targets: BTreeMap::new(),
            services: BTreeMap::new(),
            watches: BTreeMap::new(),
        }
    }
}

impl Ended {
    fn of(fault: Fault) -> Ended {
        Ended {
            exit: exit(fault.kind),
            message: fault.message,
        }
    }

    fn failed(message: String) -> Ended {
        Ended {
            exit: Exit::Failed,
            message,
        }
    }

    fn usage(message: String) -> Ended {
        Ended {
            exit: Exit::Usage,
            message,
        }
    }

    /// An error of the installer.
    fn cannot_write(error: &InstallError) -> Ended {
        let reason = with_causes(error);
        Ended::failed(format!("{reason}; the file was not replaced"))
    }
}

fn exit(kind: FaultKind) -> Exit {
    match kind {
        FaultKind::NotFound => Exit::NoInput,
        FaultKind::Lost | FaultKind::Throttled | FaultKind::TooEarly => Exit::Unreachable,
        FaultKind::TokenRefused | FaultKind::Operator => Exit::Failed,
    }
}

/// An absolute path without dots. The directory has to be there.
fn target(file: &Path) -> Result<TargetPath, Ended> {
    let shown = file.display();
    if file == Path::new("-") {
        return Err(Ended::usage(
            "without `--output` it goes to standard output; a file of the name `-` is `./-`".into(),
        ));
    }
    if file.is_symlink() {
        return Err(Ended::failed(format!(
            "cannot write `{shown}`: it is a symbolic link; name the file that it leads to, or take it away"
        )));
    }
    let absolute = std::path::absolute(file)
        .map_err(|error| Ended::failed(format!("cannot find `{shown}`: {error}")))?;
    let slash = file.as_os_str().as_encoded_bytes().ends_with(b"/");
    let (Some(parent), Some(name), false) = (absolute.parent(), absolute.file_name(), slash) else {
        return Err(Ended::usage(format!("`{shown}` is not the path of a file")));
    };
    let parent = parent.canonicalize().map_err(|error| {
        Ended::failed(format!(
            "cannot write `{shown}`: its directory cannot be used: {error}; make it, or name another file"
        ))
    })?;
    let path = parent.join(name);
    path.to_str().and_then(TargetPath::new).ok_or_else(|| {
        Ended::usage(format!(
            "the path `{}` is not UTF-8 or has odd parts",
            path.display()
        ))
    })
}

/// All staged, then all renamed. Nothing is kept: there is no way back from `fetch`.
fn replace(files: &[(&TargetPath, &[u8])]) -> Result<(), Ended> {
    let installer = Installer::new(None);
    let mut placements: Vec<Placement> = Vec::new();
    for (target, bytes) in files {
        match place(&installer, target, bytes) {
            Ok(placement) => placements.push(placement),
            Err(ended) => {
                discard(&installer, &placements);
                return Err(ended);
            }
        }
    }
    if let Err(failed) = installer.swap(&placements) {
        discard(&installer, &placements);
        return Err(Ended::cannot_write(&failed.error));
    }
    installer.release(&placements);
    Ok(())
}

fn place(installer: &Installer, target: &TargetPath, bytes: &[u8]) -> Result<Placement, Ended> {
    let staged = || -> Result<Placement, InstallError> {
        let found = installer.look(target)?;
        let metadata = installer.metadata(target, &Wanted::default(), &found)?;
        let site = installer.site(target)?;
        let staged = installer.stage_at(target, &site, bytes, &metadata)?;
        Ok(Placement {
            target: target.clone(),
            site,
            staged,
            kept: Kept::Absent,
            digest: Digest::of(bytes),
            metadata,
        })
    };
    staged().map_err(|error| Ended::cannot_write(&error))
}

fn discard(installer: &Installer, placements: &[Placement]) {
    for placement in placements {
        installer.discard(&placement.target, &placement.staged);
    }
}

fn print(bytes: &[u8]) -> Result<(), Ended> {
    let mut output = std::io::stdout().lock();
    output
        .write_all(bytes)
        .and_then(|()| output.flush())
        .map_err(|error| Ended::failed(format!("cannot write to standard output: {error}")))
}

fn name(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=128 if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err("expected 1 to 128 characters".into()),
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let uri: Option<http::Uri> = text.parse().ok();
    let sound = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
    });
    if sound {
        Ok(text.to_owned())
    } else {
        Err("expected an http or https URL".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_of_http() {
        assert!(endpoint("http://127.0.0.1:1").is_ok());
        for bad in ["127.0.0.1:1", "ftp://x", "http://", "http://h/?q", ""] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_found_from_the_working_directory() {
        let directory = std::env::current_dir().and_then(|path| path.canonicalize());
        let here = directory.expect("a directory").join("out.json");
        let path = target(Path::new("./src/../out.json")).ok().expect("a path");
        assert_eq!(Path::new(path.as_str()), here);
        assert!(target(Path::new("no-such-directory/x")).is_err());
        for bad in ["", "/", "..", "src/", "-", "/proc/self/exe"] {
            assert!(target(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
