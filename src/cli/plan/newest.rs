//! The configuration that every profile counts with: what the ledger has, else what the service answers now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::first::{Miss, first_configuration, said_when_long};
use crate::cli::screen::err;
use crate::clock::Clock;
use crate::daemon::{Daemon, StartError, offline_source, serve};
use crate::ledger::{Bodies, Ledger, LedgerError, State, Version};
use crate::protocol::{Configuration, Identity};
use crate::settings::{Profile, ProfileName, Settings, TargetPath};
use crate::source::{FaultKind, Source};
use crate::transaction::Component;
use crate::words::count;

/// How long a source that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often the ledger is read anew when a daemon changes it under our eyes.
const READINGS: usize = 5;

/// Everything that planning needs.
pub struct Newest {
    pub components: Vec<Component>,
    /// The ledger's, with what was fetched just now as received.
    pub state: State,
    pub bodies: Bodies,
    pub fetched: BTreeSet<Identity>,
    pub missing: BTreeMap<Identity, Missing>,
}

/// A profile that has no configuration at all.
pub struct Missing {
    required: bool,
    unreachable: bool,
    /// Begins with the profile's name.
    message: String,
}

impl Newest {
    pub async fn gather(
        settings: &Settings,
        chosen: &BTreeSet<TargetPath>,
        state_directory: &Path,
        clock: &Clock,
    ) -> Result<Newest, StartError> {
        let source = offline_source(settings).await.map_err(StartError::Source)?;
        let (mut newest, unknown) =
            Newest::from_ledger(settings, chosen, state_directory, &source)?;
        if unknown.is_empty() {
            return Ok(newest);
        }
        let server = serve(&settings.source, clock).await?;
        let endpoint = server.as_ref().map(|server| server.endpoint());
        let source = Source::new(settings, endpoint)
            .await
            .map_err(StartError::Source)?;
        let whose = count(unknown.len(), "profile");
        let fetched = newest.fetch(unknown, &source, clock);
        said_when_long(fetched, &whose, PATIENCE).await;
        if let Some(server) = server {
            server.stop().await;
        }
        Ok(newest)
    }

    /// What the ledger has, and the profiles that it knows nothing of.
    fn from_ledger(
        settings: &Settings,
        chosen: &BTreeSet<TargetPath>,
        state_directory: &Path,
        source: &Source,
    ) -> Result<(Newest, BTreeMap<Identity, Arc<Profile>>), LedgerError> {
        let mut readings = 0;
        loop {
            let state = Ledger::read(state_directory)?.unwrap_or_default();
            let components = Daemon::components(settings, source, &state);
            let mut newest = Newest {
                components,
                state,
                bodies: Bodies::new(),
                fetched: BTreeSet::new(),
                missing: BTreeMap::new(),
            };
            let profiles = newest.profiles(chosen);
            let gone = newest.read_bodies(profiles.keys(), state_directory)?;
            readings += 1;
            // A body that has gone since the state was read: a daemon has moved on, and the state is old by now.
            if !gone || readings == READINGS {
                let unknown = |identity: &Identity| !newest.has(identity);
                let unknown: BTreeMap<_, _> = profiles
                    .into_iter()
                    .filter(|(identity, _)| unknown(identity))
                    .collect();
                return Ok((newest, unknown));
            }
        }
    }

    /// The profiles that have a say in the chosen targets: those that feed them, and, because a new version is taken by
    /// all targets of its profile or by none, those that feed the other targets of a profile with a new version.
    fn profiles(&self, chosen: &BTreeSet<TargetPath>) -> BTreeMap<Identity, Arc<Profile>> {
        let mut profiles = BTreeMap::new();
        for component in &self.components {
            let mut reached: BTreeSet<TargetPath> = chosen
                .iter()
                .filter(|path| component.targets.contains_key(*path))
                .cloned()
                .collect();
            let mut seen = BTreeSet::new();
            let feeders = loop {
                let feeders: BTreeSet<Identity> = reached
                    .iter()
                    .flat_map(|path| component.feeders(path))
                    .collect();
                let fresh: BTreeSet<Identity> = feeders
                    .iter()
                    .filter(|identity| !seen.contains(*identity) && self.is_new(identity))
                    .cloned()
                    .collect();
                if fresh.is_empty() {
                    break feeders;
                }
                reached.extend(component.fed_by(&fresh));
                seen.extend(fresh);
            };
            for (profile, identity) in component.profiles.values() {
                if feeders.contains(identity) {
                    profiles.entry(identity.clone()).or_insert(profile.clone());
                }
            }
        }
        profiles
    }

    /// It counts, or will once it is fetched, with something else than what was accepted.
    fn is_new(&self, identity: &Identity) -> bool {
        match (
            self.state.received.get(identity),
            self.state.accepted.get(identity),
        ) {
            (Some(received), Some(accepted)) => !same(received, accepted),
            (received, accepted) => received.is_some() || accepted.is_none(),
        }
    }

    /// True if one is not there any more.
    fn read_bodies<'a>(
        &mut self,
        identities: impl Iterator<Item = &'a Identity>,
        state_directory: &Path,
    ) -> Result<bool, LedgerError> {
        let mut gone = false;
        for identity in identities {
            let held = self.state.held_profiles.get(identity);
            let versions = [
                self.state.received.get(identity),
                self.state.accepted.get(identity),
                held.map(|held| &held.version),
            ];
            for version in versions.into_iter().flatten() {
                if self.bodies.contains_key(&version.digest) {
                    continue;
                }
                match Ledger::read_body(state_directory, version.digest)? {
                    Some(body) => {
                        self.bodies.insert(version.digest, body);
                    }
                    None => gone = true,
                }
            }
        }
        Ok(gone)
    }

    fn has(&self, identity: &Identity) -> bool {
        let versions = [
            self.state.received.get(identity),
            self.state.accepted.get(identity),
        ];
        let mut versions = versions.into_iter().flatten();
        versions.any(|version| self.bodies.contains_key(&version.digest))
    }

    /// Asks for all of them side by side.
    async fn fetch(
        &mut self,
        unknown: BTreeMap<Identity, Arc<Profile>>,
        source: &Source,
        clock: &Clock,
    ) {
        let mut asking = Vec::new();
        for (identity, profile) in unknown {
            let asked = ask(Arc::clone(&profile), source.clone(), clock.clone());
            asking.push((identity, profile.required, tokio::spawn(asked)));
        }
        for (identity, required, asked) in asking {
            let answer = asked
                .await
                .unwrap_or_else(|error| Err((false, format!("the fetch broke: {error}"))));
            match answer {
                Ok(configuration) => self.take(identity, &configuration, clock),
                Err((unreachable, message)) => {
                    let missing = Missing {
                        required,
                        unreachable,
                        message,
                    };
                    self.missing.insert(identity, missing);
                }
            }
        }
    }

    fn take(&mut self, identity: Identity, configuration: &Configuration, clock: &Clock) {
        let version = Version::of(configuration, clock.now().wall);
        self.bodies
            .insert(version.digest, configuration.bytes().clone());
        self.state.received.insert(identity.clone(), version);
        self.fetched.insert(identity);
    }

    /// The names under which the settings have this profile.
    pub fn names(&self, identity: &Identity) -> String {
        let names = self
            .components
            .iter()
            .flat_map(|component| component.names(identity));
        let names: Vec<&str> = names.map(ProfileName::as_str).collect();
        names.join(", ")
    }
}

impl Missing {
    pub fn say(&self) {
        let severity = if self.required { "error" } else { "note" };
        err!("{severity}: {}", self.message);
    }

    /// The service said no, and the profile is needed.
    pub fn is_failure(&self) -> bool {
        self.required && !self.unreachable
    }

    pub fn is_unreachable(&self) -> bool {
        self.required && self.unreachable
    }
}

/// Label and content type count too, as they do for the planner.
fn same(one: &Version, other: &Version) -> bool {
    one.digest == other.digest && one.label == other.label && one.content_type == other.content_type
}

/// Or whether it was only not reached, and why.
async fn ask(
    profile: Arc<Profile>,
    source: Source,
    clock: Clock,
) -> Result<Configuration, (bool, String)> {
    let name = profile.name.clone();
    let mut last = None;
    let first = first_configuration(profile, source, clock, |fault| last = Some(fault));
    match tokio::time::timeout(PATIENCE, first).await {
        Ok(Ok((configuration, _))) => Ok(configuration),
        Ok(Err(Miss::Fault(fault))) => Err((false, fault.message)),
        Ok(Err(Miss::Empty)) => Err((
            false,
            format!(
                "profile `{name}`: its configuration is empty, which counts as none; \
                 deploy a version that is not"
            ),
        )),
        Err(_) => {
            let waited = PATIENCE.as_secs();
            let (kind, message) = match last {
                Some(fault) => (fault.kind, fault.message),
                None => (
                    FaultKind::Lost,
                    format!("profile `{name}`: no answer came; is the endpoint reachable?"),
                ),
            };
            let message = format!("{message} (asked for {waited} s; the ledger has nothing of it)");
            Err((kind != FaultKind::TokenRefused, message))
        }
    }
}
