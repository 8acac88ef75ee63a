//! Which services would be told of a change.

use super::outlook::View;
use crate::settings::{ServiceName, TargetPath};

impl View<'_> {
    /// What lies there, or would be adopted, is not what the service was told of last.
    pub(super) fn is_untold(&self, service: &ServiceName, path: &TargetPath) -> bool {
        let state = &self.newest.state;
        let planned = self.plan.adopted.get(path).or(self.plan.repairs.get(path));
        let installed = planned.or(state.installed.get(path));
        let installed = installed.map(|row| row.known_to(service));
        let told = state.acknowledged.get(service);
        let told = told.and_then(|rows| rows.get(path)).copied().flatten();
        installed.is_some() && installed != told && self.may_concern(service, path)
    }

    pub(super) fn may_concern(&self, service: &ServiceName, path: &TargetPath) -> bool {
        let service = self.component.services.get(service);
        let target = self.component.targets.get(path);
        let both = service.zip(target);
        both.is_none_or(|(service, target)| service.conditions.concern(target))
    }

    /// The service would be told of this change.
    pub(super) fn concerns(&self, service: &ServiceName, path: &TargetPath) -> bool {
        let rows = self.newest.state.acknowledged.get(service);
        let told = rows.and_then(|rows| rows.get(path)).copied().flatten();
        let mut changes = self.plan.changes.iter();
        let change = changes.find(|change| change.target == *path);
        let service = self.component.services.get(service);
        let target = self.component.targets.get(path);
        let (Some(change), Some(service), Some(target)) = (change, service, target) else {
            return false;
        };
        let drifted = self.plan.drifted.contains_key(path);
        change.concerns(service, target, told, drifted)
    }
}
