//! One change, in the vendor's words and as a plain fact.

use std::collections::BTreeSet;

use bytes::Bytes;

/// What the sender tells about one change.
#[derive(Debug, Clone)]
pub struct SimEvent {
    /// The id in the body.
    pub id: String,
    /// The type in the body.
    pub kind: String,
    /// When it happened, in nanoseconds since 1970.
    pub at: i64,
    /// The body, byte for byte.
    pub body: Bytes,
    /// What it says, for the fold.
    pub fact: Fact,
    /// What happened, for people.
    pub about: String,
}

/// What an event says. `None` means that it says nothing of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Of a person.
    Person {
        /// `diruser_…`
        id: String,
        /// `org_…`
        organization: String,
        /// E-mail and full name.
        profile: Option<(Option<String>, Option<String>)>,
        /// Every group, by id.
        groups: Option<BTreeSet<String>>,
        /// Whether the person is in the directory and switched on.
        status: Option<Status>,
        /// The e-mail a deletion names.
        parting_email: Option<String>,
    },
    /// Of a group: whether it exists.
    Group(String, bool),
    /// Of a customer: whether it exists.
    Organization(String, bool),
    /// Nothing that changes access: the type is only recorded.
    Nothing,
    /// It cannot be read, and must end as a dead letter.
    Unreadable,
}

/// The status register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// In the directory, switched on.
    Active,
    /// In the directory, switched off.
    Deactivated,
    /// No more in the directory.
    Deleted,
}

impl Status {
    /// As exported.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Deleted => "deleted",
        }
    }
}

impl Fact {
    /// Whether it takes access away, which decides between two facts of one instant.
    pub fn takes_access_away(&self) -> bool {
        match self {
            Self::Person { status, .. } => matches!(status, Some(Status::Deactivated | Status::Deleted)),
            Self::Group(_, exists) | Self::Organization(_, exists) => !exists,
            Self::Nothing | Self::Unreadable => false,
        }
    }
}
