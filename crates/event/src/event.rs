//! What an event means, whatever the vendor called the fields.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::payload;
use crate::{
    BodyHash, EnvironmentId, EventId, GroupId, OccurredAt, OrganizationId, Unreadable, UserId, Version,
};

/// One event of the vendor, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEvent {
    /// The id in the body.
    pub id: EventId,
    /// The hash of the whole body.
    pub body_sha256: BodyHash,
    /// The type in the body, as written; at most 255 bytes.
    pub kind: String,
    /// When it happened; absent only where nothing is changed by it.
    pub occurred_at: Option<OccurredAt>,
    /// The vendor's environment.
    pub environment_id: Option<EnvironmentId>,
    /// The customer; absent for events that concern none.
    pub organization_id: Option<OrganizationId>,
    /// What it changes.
    pub change: Change,
}

/// What an event changes, with the version by which it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A person.
    User(Version, UserChange),
    /// A group.
    Group(Version, GroupChange),
    /// A customer, or its directory.
    Organization(Version, OrganizationChange),
    /// Nothing: a type that is only recorded.
    Recorded,
}

/// What an event says of a person. A register that is `None` is not written by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserChange {
    /// The person.
    pub id: UserId,
    /// The customer whose directory holds the person.
    pub organization_id: OrganizationId,
    /// E-mail, names, attributes and vendor roles, as a whole.
    pub profile: Option<Profile>,
    /// Every group the person is in, as a whole.
    pub groups: Option<BTreeSet<GroupId>>,
    /// Whether the person may come in, as far as the directory says.
    pub status: Option<UserStatus>,
}

/// The profile register.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The one address; not unique, not a key.
    pub email: Option<String>,
    /// The formatted full name; made of given and family name where the directory sends none.
    pub name: Option<String>,
    /// Given name.
    pub given_name: Option<String>,
    /// Family name.
    pub family_name: Option<String>,
    /// SCIM's `userName`.
    pub user_name: Option<String>,
    /// The person's id at the identity provider.
    pub dp_id: Option<String>,
    /// Every other field of the person as one JSON object, numbers as the sender wrote them.
    pub attributes: String,
    /// `roles[].role_name`, sorted, each once.
    pub vendor_roles: Vec<String>,
}

/// The status register of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserStatus {
    /// May come in.
    Active,
    /// Switched off, still in the directory.
    Deactivated,
    /// Gone from the directory.
    Deleted {
        /// The address the deletion names, kept for people no profile was ever seen of.
        email: Option<String>,
    },
}

impl UserStatus {
    /// As stored and exported.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Deleted { .. } => "deleted",
        }
    }
}

/// What an event says of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupChange {
    /// The group.
    pub id: GroupId,
    /// The customer whose directory holds the group.
    pub organization_id: OrganizationId,
    /// Display name, then the group's id at the identity provider; not written by a deletion.
    pub name: Option<(Option<String>, Option<String>)>,
    /// Whether the group exists.
    pub status: GroupStatus,
}

/// The status register of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupStatus {
    /// Exists.
    Active,
    /// Deleted: its members have nothing through it.
    Deleted,
}

impl GroupStatus {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted => "deleted",
        }
    }
}

/// What an event says of a customer. A register that is `None` is not written by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationChange {
    /// The customer.
    pub id: OrganizationId,
    /// Display name, then the application's own id of the customer.
    pub name: Option<(Option<String>, Option<String>)>,
    /// Whether the customer exists.
    pub status: Option<OrganizationStatus>,
    /// Whether its directory is switched on.
    pub directory: Option<DirectoryState>,
}

/// The status register of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrganizationStatus {
    /// Exists.
    Active,
    /// Deleted: nobody of it may come in.
    Deleted,
}

impl OrganizationStatus {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted => "deleted",
        }
    }
}

/// The directory register of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryState {
    /// Changes flow.
    Enabled,
    /// Switched off by an administrator; nobody loses access by that alone.
    Disabled,
}

impl DirectoryState {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

impl DirectoryEvent {
    /// Reads a body that was verified at the door.
    ///
    /// Unknown types become [`Change::Recorded`], unknown fields stay in the attributes. Absent, null and
    /// empty are told apart only where the design does: `groups`.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] for a body that can never be applied; trying again cannot help.
    pub fn parse(body: &Bytes) -> Result<Self, Unreadable> {
        payload::read(body)
    }

    /// The version, where the event changes something.
    pub fn version(&self) -> Option<&Version> {
        match &self.change {
            Change::User(version, _) | Change::Group(version, _) | Change::Organization(version, _) => {
                Some(version)
            }
            Change::Recorded => None,
        }
    }

    /// The id of the user or group it is about.
    pub fn subject(&self) -> Option<&str> {
        match &self.change {
            Change::User(_, user) => Some(user.id.as_str()),
            Change::Group(_, group) => Some(group.id.as_str()),
            Change::Organization(..) | Change::Recorded => None,
        }
    }

    /// The type as a metric label: the catalogue's name, or `other`, so that a sender cannot make labels.
    pub fn kind_label(&self) -> &'static str {
        payload::catalogue_name(&self.kind)
    }
}
