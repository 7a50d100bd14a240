//! The index from roles to servers.

use std::collections::{BTreeMap, BTreeSet};

use ensemble::{RoleName, ServerId};

use crate::Announcement;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RoleIndex(BTreeMap<RoleName, BTreeSet<ServerId>>);

impl RoleIndex {
    pub(super) fn add(&mut self, server: &Announcement) {
        for role in &server.roles {
            self.0.entry(role.clone()).or_default().insert(server.id.clone());
        }
    }

    pub(super) fn remove(&mut self, server: &Announcement) {
        for role in &server.roles {
            if let Some(ids) = self.0.get_mut(role) {
                ids.remove(&server.id);
                if ids.is_empty() {
                    self.0.remove(role);
                }
            }
        }
    }

    /// The servers with a role, in the order of their ids.
    pub(super) fn get(&self, role: &RoleName) -> impl Iterator<Item = &ServerId> {
        self.0.get(role).into_iter().flatten()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &RoleName> {
        self.0.keys()
    }
}
