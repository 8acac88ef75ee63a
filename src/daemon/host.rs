//! What tells this host from the others of a fleet.

use std::path::Path;

use crate::transaction::Host;

/// The machine id of this root, else the host's name.
pub fn host(root: Option<&Path>) -> Host {
    let root = root.unwrap_or(Path::new("/"));
    // What cannot be read tells nothing; a host without either has the share of all such hosts.
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine_id = read(&root.join("etc/machine-id"));
    let name = read(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    Host::of(machine_id.as_deref(), name.trim())
}
