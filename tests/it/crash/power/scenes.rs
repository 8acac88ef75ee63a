//! What is recorded: a transaction with each of its ends, the first one of all, and the one that puts things right.

use std::sync::Arc;

use super::back;
use super::disk::Tree;
use super::promises::Versions;
use super::record::{Recording, record};
use super::view::View;
use crate::crash::dress::Dress;
use crate::crash::found::plain;
use crate::crash::scene::{DIRECTORY, Fate, place, world_of, world_without_state};
use crate::world::{Server, World};

const LOGS: [&str; 2] = ["one.log", "two.log"];

pub struct Scene {
    pub name: String,
    pub fate: Fate,
    /// There was no ledger before.
    pub begins: bool,
    pub world: World,
    _server: Option<Server>,
    pub recording: Recording,
    pub versions: Versions,
    /// The files of the recording are those of the versions.
    pub is_first: bool,
    pub told: [String; 2],
}

impl Scene {
    /// With a version before it.
    pub fn recorded(fate: Fate) -> Scene {
        let (world, server) = world_of(fate);
        let (recording, told) = recorded(&world);
        let ends_well = recording.code == Some(0);
        assert_eq!(ends_well, fate == Fate::Stays, "{}", world.log());
        Scene {
            name: format!("{fate:?}"),
            fate,
            begins: false,
            versions: Versions::of(fate, &recording, |_| View::file(&Arc::default(), plain())),
            world,
            _server: Some(server),
            recording,
            is_first: true,
            told,
        }
    }

    /// The first start of all: no ledger, and files that others have made, or none.
    pub fn begun() -> Scene {
        let (world, server) = world_without_state();
        let (recording, told) = recorded(&world);
        assert_eq!(recording.code, Some(0), "{}", world.log());
        let new = |target: &str| match target {
            DIRECTORY => View::directory(&[
                ("", 0o750),
                ("sub", 0o750),
                ("sub/y.conf", 0o640),
                ("x.conf", 0o644),
            ]),
            _ => View::file(&Arc::default(), plain()),
        };
        Scene {
            name: "First start".to_owned(),
            fate: Fate::Stays,
            begins: true,
            versions: Versions::of(Fate::Stays, &recording, new),
            world,
            _server: Some(server),
            recording,
            is_first: true,
            told,
        }
    }

    /// The power went after this call and left this: the run that puts it right.
    pub fn again(&self, at: usize, tree: &Tree) -> Scene {
        let world = back::build(&self.world, tree, self.told_by(at));
        let (recording, told) = recorded(&world);
        let words = &self.recording.steps[at].words;
        Scene {
            name: format!("{} after call {} ({words}), recovering", self.name, at + 1),
            fate: self.fate,
            begins: self.begins,
            world,
            _server: None,
            recording,
            versions: self.versions.clone(),
            is_first: false,
            told,
        }
    }

    /// What each service had seen after this call.
    pub fn told_by(&self, at: usize) -> [&str; 2] {
        let step = &self.recording.steps[at];
        let length = |log: usize| usize::try_from(step.told[log]).unwrap();
        [0, 1].map(|log| &self.told[log][..length(log)])
    }
}

fn recorded(world: &World) -> (Recording, [String; 2]) {
    let told = LOGS.map(|log| world.path(log)).to_vec();
    let recording = record(world.command(&["once"]), &place(world), told);
    (
        recording,
        LOGS.map(|log| world.read(log).unwrap_or_default()),
    )
}

impl View {
    /// A directory target with these files and directories, which nobody else has touched.
    fn directory(parts: &[(&str, u32)]) -> View {
        let mut view = View::file(&Arc::default(), plain());
        let kind = view.parts.values().next().unwrap().0.clone();
        view.parts = parts
            .iter()
            .map(|(path, mode)| {
                let kind = match path.ends_with(".conf") {
                    true => kind.clone(),
                    false => super::record::Kind::Directory,
                };
                let dress = Dress::plain(plain().owner, *mode);
                (path.into(), (kind, dress))
            })
            .collect();
        view
    }
}
