//! Templates and schemas that change are taken without being asked, with the settings as they are.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::content::Content;
use crate::settings::{PathPattern, Watch};

use super::watches::{Ground, Lookout};
use super::{Daemon, Replaced, StartError};

/// Looks after the templates and schemas of a daemon.
#[derive(Default)]
pub(super) struct Templates {
    files: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
    /// Ends with this.
    task: JoinSet<()>,
}

impl Templates {
    /// From now on these files are looked after. That they are looked at for the first time is a change: they may be others
    /// than were loaded.
    pub fn watch(&mut self, files: &BTreeSet<PathBuf>, clock: Clock) {
        if *files == self.files {
            return;
        }
        self.files = files.clone();
        self.task = JoinSet::new();
        // Settings are UTF-8, and so are all paths that they name; only their own directory may not be.
        let paths = files.iter().filter_map(|file| file.to_str());
        let watch = Watch {
            name: "templates and schemas".into(),
            paths: paths.map(PathPattern::exactly).collect(),
            notify: Vec::new(),
        };
        if watch.paths.is_empty() {
            return;
        }
        let lookout = Lookout::new([Arc::new(watch)], Ground::default(), clock);
        let changed = Arc::clone(&self.changed);
        self.task.spawn(lookout.run(move |_| {
            changed.notify_one();
            ControlFlow::Continue(())
        }));
    }

    /// Something has changed since the last time. Cancel safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Daemon {
    /// Takes templates and schemas as they are now; `None`: they are as they were. On an error nothing has changed.
    pub async fn render_anew(&mut self) -> Result<Option<Replaced>, StartError> {
        let settings = self.settings.clone();
        let content = Content::load(&settings).map_err(StartError::Content)?;
        if content.is_same(&self.content) {
            return Ok(None);
        }
        self.replace(settings).await.map(Some)
    }

    pub(super) fn watch_templates(&self, templates: &mut Templates) {
        templates.watch(self.content.files(), self.clock.clone());
    }
}
