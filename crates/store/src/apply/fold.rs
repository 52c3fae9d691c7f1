//! A batch folded to one row per user, group and organization: PostgreSQL refuses one key twice in one
//! upsert, and the highest version is all that can win anyway.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_event::{
    Change, DirectoryEvent, DirectoryState, GroupChange, GroupId, GroupStatus, OrganizationChange,
    OrganizationId, OrganizationStatus, Profile, UserChange, UserStatus, Version,
};

/// A register with the version that wrote it; `None` where nothing did.
type Register<'a, T> = Option<(&'a Version, T)>;

/// Everything a set of events says, sorted by id.
#[derive(Default)]
pub(crate) struct Fold<'a> {
    pub(crate) users: BTreeMap<&'a str, UserFold<'a>>,
    pub(crate) groups: BTreeMap<&'a str, GroupFold<'a>>,
    pub(crate) organizations: BTreeMap<&'a str, OrganizationFold<'a>>,
}

/// The registers of a person.
#[derive(Default, Clone)]
pub(crate) struct UserFold<'a> {
    /// The organization goes with the highest version of all: an id belongs to one organization, and
    /// should the vendor ever say otherwise, every order must still end alike.
    pub(crate) organization: Register<'a, &'a OrganizationId>,
    pub(crate) profile: Register<'a, &'a Profile>,
    pub(crate) groups: Register<'a, &'a BTreeSet<GroupId>>,
    pub(crate) status: Register<'a, &'a UserStatus>,
}

/// The registers of a group; all `None` for one that is only mentioned by its members.
#[derive(Default, Clone)]
pub(crate) struct GroupFold<'a> {
    pub(crate) organization: Register<'a, &'a OrganizationId>,
    /// Whose member mentioned it first, for a stub.
    pub(crate) mentioned_by: Option<&'a OrganizationId>,
    pub(crate) name: Register<'a, (&'a Option<String>, &'a Option<String>)>,
    pub(crate) status: Register<'a, GroupStatus>,
}

/// The registers of a customer.
#[derive(Default, Clone)]
pub(crate) struct OrganizationFold<'a> {
    pub(crate) name: Register<'a, (&'a Option<String>, &'a Option<String>)>,
    pub(crate) status: Register<'a, OrganizationStatus>,
    pub(crate) directory: Register<'a, DirectoryState>,
}

fn raise<'a, T>(register: &mut Register<'a, T>, version: &'a Version, value: T) {
    if register.as_ref().is_none_or(|(current, _)| version > *current) {
        *register = Some((version, value));
    }
}

impl<'a> Fold<'a> {
    pub(crate) fn of(events: impl Iterator<Item = &'a DirectoryEvent>) -> Self {
        let mut fold = Self::default();
        for event in events {
            fold.add(event);
        }
        fold
    }

    pub(crate) fn add(&mut self, event: &'a DirectoryEvent) {
        match &event.change {
            Change::User(version, user) => self.user(version, user),
            Change::Group(version, group) => self.group(version, group),
            Change::Organization(version, organization) => self.organization(version, organization),
            Change::Recorded => {}
        }
    }

    fn user(&mut self, version: &'a Version, change: &'a UserChange) {
        let user = self.users.entry(change.id.as_str()).or_default();
        raise(&mut user.organization, version, &change.organization_id);
        if let Some(profile) = &change.profile {
            raise(&mut user.profile, version, profile);
        }
        if let Some(status) = &change.status {
            raise(&mut user.status, version, status);
        }
        if let Some(groups) = &change.groups {
            raise(&mut user.groups, version, groups);
            // Also of an event that loses: whether a stub exists must not depend on the order.
            for group in groups {
                let stub = self.groups.entry(group.as_str()).or_default();
                stub.mentioned_by.get_or_insert(&change.organization_id);
            }
        }
    }

    fn group(&mut self, version: &'a Version, change: &'a GroupChange) {
        let group = self.groups.entry(change.id.as_str()).or_default();
        raise(&mut group.organization, version, &change.organization_id);
        raise(&mut group.status, version, change.status);
        if let Some((name, dp_id)) = &change.name {
            raise(&mut group.name, version, (name, dp_id));
        }
    }

    fn organization(&mut self, version: &'a Version, change: &'a OrganizationChange) {
        let organization = self.organizations.entry(change.id.as_str()).or_default();
        if let Some((name, external_id)) = &change.name {
            raise(&mut organization.name, version, (name, external_id));
        }
        if let Some(status) = change.status {
            raise(&mut organization.status, version, status);
        }
        if let Some(directory) = change.directory {
            raise(&mut organization.directory, version, directory);
        }
    }
}
