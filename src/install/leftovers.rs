//! What could not be removed when nobody needed it any more: tried again until it is gone.
//!
//! A file system may be read-only, or a directory closed to us, for as long as an operator takes. What a crash has left is
//! found by the sweep at the next start.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::directory::Directory;
use super::error::InstallError;
use super::site::Spot;
use super::{Installer, Placement, sweep};
use crate::settings::TargetPath;

/// Shared by all clones of an installer. What is left and whether somebody sees to it change together.
#[derive(Debug, Default)]
pub(super) struct Leftovers(Mutex<Left>);

#[derive(Debug, Default)]
struct Left {
    list: Vec<Leftover>,
    /// Somebody tries again and again.
    is_tidied: bool,
}

#[derive(Clone, Debug)]
enum Leftover {
    /// Where its target's file lies, and its name in `.appconfigd/`.
    Staged(TargetPath, String),
    Placement(Placement),
}

impl Leftovers {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Installer {
    /// Removes a staged file or generation that will not be used, and `.appconfigd/` if it is then empty. `lies`: where its target's
    /// file lies.
    pub fn discard(&self, lies: &TargetPath, staged: &str) {
        sweep::discard(self.root(), lies, staged);
        self.remember_staged(lies, staged);
    }

    /// Removes kept names (and staged leftovers of these placements), then `.appconfigd/` where it is empty. A directory that was taken
    /// over becomes a previous generation; of those as many stay as the settings say.
    pub fn release(&self, placements: &[Placement]) {
        let placements = self.as_trusted(placements);
        let previous = |target: &TargetPath| self.keep_previous(target);
        sweep::release(self.root(), &placements, &previous);
        let left = placements.into_iter().filter(|one| {
            let names = [Some(one.staged.as_str()), one.kept.name()];
            !are_gone(self.root(), one.lies(), &names)
        });
        let left = left.map(Leftover::Placement);
        self.leftovers.left().list.extend(left);
    }

    /// After a failure to stage under this name.
    pub(super) fn remember_staged(&self, lies: &TargetPath, staged: &str) {
        if !are_gone(self.root(), lies, &[Some(staged)]) {
            let left = Leftover::Staged(lies.clone(), staged.to_owned());
            self.leftovers.left().list.push(left);
        }
    }

    /// Whether something is left, and nobody else has been told so: who hears `true` calls [`Installer::tidy`] until that says
    /// that nothing is.
    pub fn is_to_be_tidied(&self) -> bool {
        let mut left = self.leftovers.left();
        !left.list.is_empty() && !std::mem::replace(&mut left.is_tidied, true)
    }

    /// Tries once more to remove what is left; whether nothing is.
    pub fn tidy(&self) -> bool {
        let list = std::mem::take(&mut self.leftovers.left().list);
        for one in list {
            match one {
                Leftover::Staged(lies, staged) => self.discard(&lies, &staged),
                Leftover::Placement(placement) => self.release(&[placement]),
            }
        }
        let mut left = self.leftovers.left();
        left.is_tidied = !left.list.is_empty();
        !left.is_tidied
    }
}

/// Whether none of these names is in `.appconfigd/`, and it is not there for nothing. What cannot be looked at may be there.
fn are_gone(root: Option<&Path>, lies: &TargetPath, names: &[Option<&str>]) -> bool {
    // The names are nobody else's, wherever the way leads.
    let spot = Spot {
        path: lies,
        unsafe_path: true,
    };
    let look = || -> Result<bool, InstallError> {
        let Some(directory) = Directory::find(root, spot)? else {
            return Ok(true);
        };
        let Some(own) = directory.own()? else {
            return Ok(true);
        };
        let there = sweep::names(&own)?;
        let is_ours = |name: &String| names.contains(&Some(name.as_str()));
        Ok(!there.is_empty() && !there.iter().any(is_ours))
    };
    look().unwrap_or(false)
}
