//! A connected component of profiles, targets and services: what one queue works on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ledger::{Direction, Intent, State, Table};
use crate::protocol::{Digest, Identity};
use crate::settings::{
    Profile, ProfileName, Service, ServiceName, Settings, Target, TargetPath, Watch, WatchName,
};

/// What belongs together, because transactions that share a target or a service must not run at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Component {
    pub profiles: BTreeMap<ProfileName, (Arc<Profile>, Identity)>,
    pub targets: BTreeMap<TargetPath, Arc<Target>>,
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    pub watches: BTreeMap<WatchName, Arc<Watch>>,
    /// Intents that an earlier run left open and that touch this component.
    pub intents: BTreeSet<u64>,
    reverse: Reverse,
}

/// The same relations from the other end: a thousand profiles of one service are asked for one by one. There may be as many
/// components as profiles, and a map keeps room for eleven.
#[derive(Clone, Debug, Default, PartialEq)]
struct Reverse {
    /// In order, as the next.
    names: Box<[(Identity, Box<[ProfileName]>)]>,
    fed: Box<[(Identity, TargetPath)]>,
    depended: BTreeMap<ServiceName, BTreeSet<TargetPath>>,
}

/// A node of the graph whose components are looked for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Profile(Identity),
    Target(TargetPath),
    Service(ServiceName),
    Watch(WatchName),
    Intent(u64),
}

impl Component {
    /// Splits settings into components, in a stable order.
    ///
    /// An open intent ties together all that it names, also what the settings do not tie (any more); an intent of which
    /// nothing is left in the settings is a component of its own, so that it can be finished. Two profiles of one
    /// identity share a session and are tied.
    pub fn partition(
        settings: &Settings,
        identities: &BTreeMap<ProfileName, Identity>,
        intents: &Table<u64, Intent>,
    ) -> Vec<Component> {
        let mut forest = Forest::default();
        for name in settings.profiles.keys() {
            if let Some(identity) = identities.get(name) {
                forest.add(Node::Profile(identity.clone()));
            }
        }
        for (path, target) in &settings.targets {
            let node = Node::Target(path.clone());
            forest.add(node.clone());
            for profile in target.from.iter().filter_map(|name| identities.get(name)) {
                forest.tie(&node, &Node::Profile(profile.clone()));
            }
            for service in &target.notify {
                forest.tie(&node, &Node::Service(service.clone()));
            }
        }
        for service in settings.services.keys() {
            forest.add(Node::Service(service.clone()));
        }
        for (name, watch) in &settings.watches {
            let node = Node::Watch(name.clone());
            for service in &watch.notify {
                forest.tie(&node, &Node::Service(service.clone()));
            }
        }
        for (id, intent) in intents {
            let node = Node::Intent(*id);
            forest.add(node.clone());
            for target in intent.placements.iter().map(|placement| &placement.target) {
                forest.tie(&node, &Node::Target(target.clone()));
            }
            for service in intent.services.keys() {
                forest.tie(&node, &Node::Service(service.clone()));
            }
            for profile in intent.profiles.keys() {
                forest.tie(&node, &Node::Profile(profile.clone()));
            }
        }
        let mut components: BTreeMap<usize, Component> = BTreeMap::new();
        for (name, profile) in &settings.profiles {
            let Some(identity) = identities.get(name) else {
                continue;
            };
            if let Some(root) = forest.find(&Node::Profile(identity.clone())) {
                let entry = (Arc::clone(profile), identity.clone());
                components
                    .entry(root)
                    .or_default()
                    .profiles
                    .insert(name.clone(), entry);
            }
        }
        for (path, target) in &settings.targets {
            if let Some(root) = forest.find(&Node::Target(path.clone())) {
                let component = components.entry(root).or_default();
                component.targets.insert(path.clone(), Arc::clone(target));
            }
        }
        for (name, service) in &settings.services {
            if let Some(root) = forest.find(&Node::Service(name.clone())) {
                let component = components.entry(root).or_default();
                component.services.insert(name.clone(), Arc::clone(service));
            }
        }
        for (name, watch) in &settings.watches {
            if let Some(root) = forest.find(&Node::Watch(name.clone())) {
                let component = components.entry(root).or_default();
                component.watches.insert(name.clone(), Arc::clone(watch));
            }
        }
        for id in intents.keys() {
            if let Some(root) = forest.find(&Node::Intent(*id)) {
                components.entry(root).or_default().intents.insert(*id);
            }
        }
        components.into_values().map(Component::indexed).collect()
    }

    fn indexed(mut self) -> Component {
        let mut names: BTreeMap<&Identity, Vec<ProfileName>> = BTreeMap::new();
        for (name, (_, identity)) in &self.profiles {
            names.entry(identity).or_default().push(name.clone());
        }
        let mut fed = BTreeSet::new();
        let mut depended: BTreeMap<ServiceName, BTreeSet<TargetPath>> = BTreeMap::new();
        for (path, target) in &self.targets {
            for identity in target.from.iter().filter_map(|name| self.identity(name)) {
                fed.insert((identity, path));
            }
            for service in &target.notify {
                let depended = depended.entry(service.clone()).or_default();
                depended.insert(path.clone());
            }
        }
        let names = names.into_iter();
        let fed = fed.into_iter();
        self.reverse = Reverse {
            names: names
                .map(|(one, names)| (one.clone(), names.into()))
                .collect(),
            fed: fed.map(|(one, path)| (one.clone(), path.clone())).collect(),
            depended,
        };
        self
    }

    /// The same with the intents that name one of its targets now.
    pub fn with_intents(&self, intents: &Table<u64, Intent>) -> Component {
        let ours = |intent: &Intent| {
            let mut placed = intent.placements.iter();
            placed.any(|placement| self.targets.contains_key(&placement.target))
        };
        let known = self.intents.iter().filter(|id| intents.contains_key(id));
        let named = intents.iter().filter(|(_, intent)| ours(intent));
        Component {
            intents: known.chain(named.map(|(id, _)| id)).copied().collect(),
            ..self.clone()
        }
    }

    /// It works on the same profiles, targets, services and watches, as they are declared. Intents come and go as it works.
    pub fn is_same_work(&self, other: &Component) -> bool {
        self.profiles == other.profiles
            && self.targets == other.targets
            && self.services == other.services
            && self.watches == other.watches
    }

    pub fn identity(&self, profile: &ProfileName) -> Option<&Identity> {
        self.profiles.get(profile).map(|(_, identity)| identity)
    }

    /// The names under which a profile of this identity is declared, for logs.
    pub fn names(&self, identity: &Identity) -> &[ProfileName] {
        let all = &self.reverse.names;
        let found = all.binary_search_by(|(one, _)| one.cmp(identity));
        let found = found.ok().and_then(|at| all.get(at));
        found.map(|(_, names)| names.as_ref()).unwrap_or_default()
    }

    /// The targets that are made from one of these profiles.
    pub fn fed_by<'a>(
        &self,
        profiles: impl IntoIterator<Item = &'a Identity>,
    ) -> BTreeSet<TargetPath> {
        let fed = profiles.into_iter().flat_map(|identity| {
            let all = &self.reverse.fed;
            let first = all.partition_point(|(one, _)| one < identity);
            let from_there = all.get(first..).unwrap_or_default();
            from_there
                .iter()
                .take_while(move |(one, _)| one == identity)
        });
        fed.map(|(_, path)| path.clone()).collect()
    }

    pub fn feeders(&self, target: &TargetPath) -> BTreeSet<Identity> {
        let names = self
            .targets
            .get(target)
            .map(|target| target.from.as_slice())
            .unwrap_or_default();
        names
            .iter()
            .filter_map(|name| self.identity(name))
            .cloned()
            .collect()
    }

    /// The services that depend on one of these targets.
    pub fn dependents<'a>(
        &self,
        targets: impl IntoIterator<Item = &'a TargetPath>,
    ) -> BTreeSet<ServiceName> {
        let targets = targets
            .into_iter()
            .filter_map(|path| self.targets.get(path));
        targets
            .flat_map(|target| target.notify.iter().cloned())
            .collect()
    }

    /// The targets that a service depends on.
    pub fn dependencies(&self, service: &ServiceName) -> &BTreeSet<TargetPath> {
        static NONE: BTreeSet<TargetPath> = BTreeSet::new();
        self.reverse.depended.get(service).unwrap_or(&NONE)
    }

    /// The services that are told when what is watched changes.
    pub fn told_by(&self, watch: &WatchName) -> &[ServiceName] {
        let watch = self.watches.get(watch);
        watch
            .map(|watch| watch.notify.as_slice())
            .unwrap_or_default()
    }

    /// The digest of these services' definitions: a quarantine holds for these and no others.
    pub fn definition(&self, services: &BTreeSet<ServiceName>) -> Digest {
        let defined: Vec<&Service> = services
            .iter()
            .filter_map(|name| self.services.get(name))
            .map(Arc::as_ref)
            .collect();
        // A definition that cannot be written as JSON does not exist: the types hold texts and numbers only.
        Digest::of(&serde_json::to_vec(&defined).unwrap_or_default())
    }

    /// The part of the ledger's state that belongs to this component.
    pub fn state(&self, all: &State) -> State {
        let intents = part(&all.intents, &self.intents);
        let profiles = self
            .profiles
            .values()
            .map(|(_, identity)| identity.clone())
            .collect();
        let placed = intents.values().flat_map(|intent| &intent.placements);
        let targets = self
            .targets
            .keys()
            .chain(placed.map(|placement| &placement.target));
        let targets: BTreeSet<TargetPath> = targets.cloned().collect();
        let services = self.services.keys().cloned().collect();
        let condemned = all.quarantine.iter();
        let files = all.found_files.iter();
        State {
            sessions: part(&all.sessions, &profiles),
            polls: part(&all.polls, &profiles),
            received: part(&all.received, &profiles),
            accepted: part(&all.accepted, &profiles),
            refusals: part(&all.refusals, &profiles),
            installed: part(&all.installed, &targets),
            acknowledged: part(&all.acknowledged, &services),
            watched: part(&all.watched, &services),
            watch_changes: part(&all.watch_changes, &self.watches.keys().cloned().collect()),
            services: part(&all.services, &services),
            notified: part(&all.notified, &services),
            waits: part(&all.waits, &services),
            retries: part(&all.retries, &services),
            quarantine: condemned
                .filter(|entry| entry.outcome.keys().any(|path| targets.contains(path)))
                .cloned()
                .collect(),
            found_files: files
                .filter(|file| targets.contains(&file.target))
                .cloned()
                .collect(),
            history: part(&all.history, &profiles),
            held_profiles: part(&all.held_profiles, &profiles),
            held_targets: part(&all.held_targets, &targets),
            // Bounds are the ledger's business, and it counts over all queues.
            history_bytes: 0,
            intents,
        }
    }
}

/// True for intents that recovery must finish before the first poll.
pub fn is_open(intent: &Intent) -> bool {
    match intent.direction {
        Direction::Forward | Direction::Back { .. } => true,
        Direction::Standing => false,
    }
}

/// The entries under these keys; looks each key up, so that ten thousand components split one state in linear time.
fn part<K: Ord + Clone, V: Clone>(map: &Table<K, V>, keys: &BTreeSet<K>) -> Table<K, V> {
    keys.iter()
        .filter_map(|key| Some((key.clone(), map.get(key)?.clone())))
        .collect()
}

/// Union-find over nodes.
#[derive(Default)]
struct Forest {
    numbers: BTreeMap<Node, usize>,
    parents: BTreeMap<usize, usize>,
}

impl Forest {
    fn add(&mut self, node: Node) -> usize {
        let next = self.numbers.len();
        let number = *self.numbers.entry(node).or_insert(next);
        self.parents.entry(number).or_insert(number);
        number
    }

    fn root(&self, mut number: usize) -> usize {
        while let Some(parent) = self
            .parents
            .get(&number)
            .filter(|parent| **parent != number)
        {
            number = *parent;
        }
        number
    }

    /// The component's number, the same for all of its nodes.
    fn find(&self, node: &Node) -> Option<usize> {
        self.numbers.get(node).map(|number| self.root(*number))
    }

    fn tie(&mut self, one: &Node, other: &Node) {
        let one = self.add(one.clone());
        let other = self.add(other.clone());
        let (one, other) = (self.root(one), self.root(other));
        // The smaller number is the root, so that components come in the order of the settings.
        self.parents.insert(one.max(other), one.min(other));
        // Path compression, so that a thousand targets of one service stay flat.
        self.parents.insert(one, one.min(other));
    }
}
