//! What a unit lets its processes do, as far as settings can ask for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User};
use tokio::runtime::Runtime;

use super::Need;
use crate::process::{Ended, Run, Surroundings, run};
use crate::settings::Command;

/// How long systemctl may think about a unit.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `systemctl show` is asked for.
const PROPERTIES: &str = "LoadState,User,Group,SupplementaryGroups,CapabilityBoundingSet,AmbientCapabilities,\
ProtectSystem,ProtectHome,PrivateTmp,ReadWritePaths,ReadOnlyPaths,InaccessiblePaths,RestrictSUIDSGID";

/// The same properties of the units that are shipped; tests hold them against systemd's own view of the files.
const SHIPPED: &[(&str, &str)] = &[
    (
        "CapabilityBoundingSet",
        "cap_chown cap_dac_override cap_fowner cap_fsetid cap_kill cap_setgid cap_setuid cap_net_bind_service",
    ),
    ("ProtectSystem", "yes"),
    ("ProtectHome", "read-only"),
    ("PrivateTmp", "yes"),
    ("RestrictSUIDSGID", "yes"),
];
const UNPRIVILEGED: &[(&str, &str)] = &[
    ("User", "appconfigd"),
    ("Group", "appconfigd"),
    ("CapabilityBoundingSet", ""),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("RestrictSUIDSGID", "yes"),
];

/// Its own, whatever the protections.
const OWN: [&str; 2] = ["/var/lib/appconfigd", "/run/appconfigd"];

/// A unit's user and protections.
#[derive(Debug)]
pub struct Sandbox {
    properties: BTreeMap<String, String>,
    uid: Option<Uid>,
    gids: Vec<Gid>,
}

impl Sandbox {
    /// `appconfigd.service`.
    pub fn shipped() -> Sandbox {
        Sandbox::of(SHIPPED.iter().map(owned).collect())
    }

    /// With `appconfigd-unprivileged.conf`.
    pub fn unprivileged() -> Sandbox {
        Sandbox::of(UNPRIVILEGED.iter().map(owned).collect())
    }

    /// The unit as this host's systemd has it; `None` where there is no such unit, or nobody to ask.
    pub fn of_host(runtime: &Runtime, unit: &str) -> Option<Sandbox> {
        let properties = show(runtime, unit, PROPERTIES)?;
        let loaded = properties.get("LoadState").map(String::as_str) == Some("loaded");
        loaded.then(|| Sandbox::of(properties))
    }

    fn of(properties: BTreeMap<String, String>) -> Sandbox {
        let mut sandbox = Sandbox {
            properties,
            uid: None,
            gids: Vec::new(),
        };
        let user = match sandbox.user().parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(sandbox.user()),
        };
        let user = user.ok().flatten();
        sandbox.uid = user.as_ref().map(|user| user.uid);
        let groups = [sandbox.get("Group"), sandbox.get("SupplementaryGroups")];
        let named = groups.iter().flat_map(|names| names.split_whitespace());
        let mut gids: Vec<Gid> = named.filter_map(gid).collect();
        gids.extend(user.as_ref().map(|user| user.gid));
        let memberships = user
            .and_then(|user| std::ffi::CString::new(user.name).ok().zip(Some(user.gid)))
            .and_then(|(name, gid)| nix::unistd::getgrouplist(&name, gid).ok());
        gids.extend(memberships.into_iter().flatten());
        sandbox.gids = gids;
        sandbox
    }

    fn get(&self, property: &str) -> &str {
        self.properties.get(property).map_or("", String::as_str)
    }

    pub fn user(&self) -> &str {
        match self.get("User") {
            "" => "root",
            user => user,
        }
    }

    pub fn is_root(&self) -> bool {
        matches!(self.user(), "root" | "0")
    }

    /// Not known where the user does not exist yet.
    pub fn uid(&self) -> Option<Uid> {
        self.uid
    }

    pub fn is_in(&self, gid: Gid) -> bool {
        self.gids.contains(&gid)
    }

    /// The setting of the unit that stands against it.
    pub fn against(&self, need: &Need) -> Option<String> {
        match need {
            Need::Write(directory) => match self.access(directory) {
                (Access::Write, _) => None,
                (Access::Read | Access::None | Access::Own, by) => Some(by),
            },
            Need::See(directory) => match self.access(directory) {
                (Access::Write | Access::Read, _) => None,
                (Access::None | Access::Own, by) => Some(by),
            },
            Need::Capability(name) => {
                let set = match self.is_root() {
                    true => "CapabilityBoundingSet",
                    false => "AmbientCapabilities",
                };
                // As root without a bound it says nothing, which is no property here.
                let unbound = self.is_root() && !self.properties.contains_key(set);
                // Who may write what is others' may read it.
                let more = "CAP_DAC_OVERRIDE";
                let has = |word: &str| {
                    word.eq_ignore_ascii_case(name)
                        || (*name == "CAP_DAC_READ_SEARCH" && word.eq_ignore_ascii_case(more))
                };
                (!unbound && !self.get(set).split_whitespace().any(has)).then(|| set.to_owned())
            }
            Need::Group(name) => {
                let member = self.is_root() || gid(name).is_some_and(|gid| self.is_in(gid));
                (!member).then(|| format!("User={}", self.user()))
            }
            Need::SetId => {
                (self.get("RestrictSUIDSGID") == "yes").then(|| "RestrictSUIDSGID=yes".to_owned())
            }
            Need::Manage { .. } => (!self.is_root()).then(|| format!("User={}", self.user())),
        }
    }

    /// What may be done in a directory, and by which setting. The deepest one that names a directory above it counts, as
    /// in systemd.
    fn access(&self, directory: &Path) -> (Access, String) {
        let mut rules: Vec<(PathBuf, Access, String)> = Vec::new();
        let mut rule = |paths: &[&str], access: Access, by: &str| {
            rules.extend(
                paths
                    .iter()
                    .map(|path| (PathBuf::from(path), access, by.to_owned())),
            );
        };
        let system: &[&str] = match self.get("ProtectSystem") {
            "strict" => &["/", "/usr", "/boot", "/efi", "/etc"],
            "full" => &["/usr", "/boot", "/efi", "/etc"],
            "yes" => &["/usr", "/boot", "/efi"],
            _ => &[],
        };
        let by = format!("ProtectSystem={}", self.get("ProtectSystem"));
        rule(system, Access::Read, &by);
        let homes = ["/home", "/root", "/run/user"];
        match self.get("ProtectHome") {
            "yes" => rule(&homes, Access::None, "ProtectHome=yes"),
            "tmpfs" => rule(&homes, Access::None, "ProtectHome=tmpfs"),
            "read-only" => rule(&homes, Access::Read, "ProtectHome=read-only"),
            _ => {}
        }
        if self.get("PrivateTmp") == "yes" {
            rule(&["/tmp", "/var/tmp"], Access::Own, "PrivateTmp=yes");
        }
        rule(&OWN, Access::Write, "");
        for (property, access) in [
            ("InaccessiblePaths", Access::None),
            ("ReadOnlyPaths", Access::Read),
            ("ReadWritePaths", Access::Write),
        ] {
            for word in words(self.get(property)) {
                rule(&[word.trim_start_matches(['-', '+'])], access, property);
            }
        }
        // Of several with one path the last one: an explicit permission wins.
        let above = rules
            .into_iter()
            .filter(|(path, ..)| directory.starts_with(path));
        above
            .max_by_key(|(path, ..)| path.components().count())
            .map_or((Access::Write, String::new()), |(_, access, by)| {
                (access, by)
            })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Write,
    Read,
    /// Hidden.
    None,
    /// A directory of its own in that place, which nobody else sees.
    Own,
}

/// Words as systemctl shows them: one with a space in it stands in quotes.
fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split('"').enumerate().flat_map(|(index, piece)| {
        let quoted = index % 2 == 1;
        let whole = quoted.then_some(piece);
        let split = (!quoted).then(|| piece.split_whitespace());
        whole.into_iter().chain(split.into_iter().flatten())
    })
}

fn owned(pair: &(&str, &str)) -> (String, String) {
    (pair.0.to_owned(), pair.1.to_owned())
}

fn gid(name: &str) -> Option<Gid> {
    match name.parse() {
        Ok(number) => Some(Gid::from_raw(number)),
        Err(_) => Group::from_name(name).ok()?.map(|group| group.gid),
    }
}

/// Properties of a unit; `None` where systemctl cannot be asked.
pub fn show(runtime: &Runtime, unit: &str, properties: &str) -> Option<BTreeMap<String, String>> {
    let words = ["systemctl", "show", "--property", properties, "--", unit];
    let command = Command::Argv(words.map(str::to_owned).to_vec());
    let surroundings = Surroundings {
        directory: PathBuf::from("/"),
        ..Surroundings::default()
    };
    let Ok(Run {
        ended: Ended::Exited(0),
        output,
    }) = runtime.block_on(run(&command, &surroundings, PATIENCE))
    else {
        return None;
    };
    let pairs = output.lines().filter_map(|line| line.split_once('='));
    Some(
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn against(sandbox: &Sandbox, directory: &str) -> Option<String> {
        sandbox.against(&Need::Write(directory.into()))
    }

    #[test]
    fn the_deepest_setting_above_a_directory_counts() {
        let mut sandbox = Sandbox::unprivileged();
        assert_eq!(
            against(&sandbox, "/etc/shop").unwrap(),
            "ProtectSystem=strict"
        );
        assert_eq!(against(&sandbox, "/var/lib/appconfigd/x"), None);
        assert_eq!(against(&sandbox, "/tmp/x").unwrap(), "PrivateTmp=yes");
        assert_eq!(against(&sandbox, "/home/x").unwrap(), "ProtectHome=yes");
        let paths = "-/etc/shop +/run \"-/etc/with a space\" /home/x";
        sandbox
            .properties
            .insert("ReadWritePaths".to_owned(), paths.to_owned());
        for directory in [
            "/etc/shop",
            "/etc/shop/a",
            "/run/shop",
            "/home/x/y",
            "/etc/with a space/a",
        ] {
            assert_eq!(against(&sandbox, directory), None, "{directory}");
        }
        for directory in ["/etc/shopping", "/etc", "/etc/with", "/home/y"] {
            assert!(against(&sandbox, directory).is_some(), "{directory}");
        }
    }

    #[test]
    fn the_unit_as_it_is_shipped_leaves_usr_homes_and_tmp_out() {
        let sandbox = Sandbox::shipped();
        assert_eq!(against(&sandbox, "/etc/nginx"), None);
        assert_eq!(against(&sandbox, "/opt/shop"), None);
        let by = |directory| against(&sandbox, directory).unwrap();
        assert_eq!(by("/usr/local/etc"), "ProtectSystem=yes");
        assert_eq!(by("/root"), "ProtectHome=read-only");
        assert_eq!(by("/var/tmp"), "PrivateTmp=yes");
        assert_eq!(sandbox.against(&Need::See("/root".into())), None);
        assert!(sandbox.against(&Need::See("/tmp".into())).is_some());
        assert_eq!(sandbox.against(&Need::Capability("CAP_CHOWN")), None);
        assert!(
            sandbox
                .against(&Need::Capability("CAP_SYS_ADMIN"))
                .is_some()
        );
    }
}
