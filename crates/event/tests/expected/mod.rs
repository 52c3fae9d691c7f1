//! What a table beside the fixtures says of one body, and the same said of a body that was read.
//!
//! A field a table leaves out is expected to be absent, so that reading too much fails as well.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rollcall_event::{
    BodyHash, Change, DirectoryEvent, GroupChange, OrganizationChange, Profile, RoutingKey, UserChange,
    UserStatus,
};
use serde::Deserialize;

/// One entry of a table.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// Where the door sends it.
    pub(crate) routing_key: String,
    /// Why it can never be applied; everything below but `message` is then absent.
    pub(crate) reason: Option<String>,
    /// Words that the error must hold.
    pub(crate) message: Option<String>,
    pub(crate) id: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// The metric label, where it is not the type.
    pub(crate) label: Option<String>,
    pub(crate) environment_id: Option<String>,
    pub(crate) organization_id: Option<String>,
    /// Time, rank and event id; the body's hash that follows is checked apart.
    pub(crate) version: Option<String>,
    /// Only where there is no version.
    pub(crate) occurred_at: Option<String>,
    pub(crate) subject: Option<String>,
    /// Some of the attributes, each as the JSON text that must be kept.
    pub(crate) attributes: Option<BTreeMap<String, String>>,
    pub(crate) user: Option<ExpectedUser>,
    pub(crate) group: Option<ExpectedGroup>,
    pub(crate) organization: Option<ExpectedOrganization>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedUser {
    status: Option<String>,
    deleted_email: Option<String>,
    groups: Option<BTreeSet<String>>,
    profile: Option<ExpectedProfile>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedProfile {
    email: Option<String>,
    name: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
    user_name: Option<String>,
    dp_id: Option<String>,
    #[serde(default)]
    vendor_roles: Vec<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedGroup {
    status: String,
    named: Option<Named>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedOrganization {
    status: Option<String>,
    directory: Option<String>,
    named: Option<Named>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    display_name: Option<String>,
    external_id: Option<String>,
}

impl Expected {
    /// What rollcall makes of a body, in the words of the tables.
    pub(crate) fn observed(body: &Bytes) -> Self {
        let routing_key = RoutingKey::for_body(body).as_str().to_owned();
        match DirectoryEvent::parse(body) {
            Ok(event) => Self { routing_key, ..Self::of_event(&event, body) },
            Err(error) => Self { routing_key, reason: Some(error.reason().to_string()), ..Self::default() },
        }
    }

    fn of_event(event: &DirectoryEvent, body: &Bytes) -> Self {
        let version = event.version().map(|version| version.as_str());
        let hash = BodyHash::of(body).to_string();
        let observed = Self {
            id: Some(event.id.to_string()),
            kind: Some(event.kind.clone()),
            label: (event.kind_label() != event.kind).then(|| event.kind_label().to_owned()),
            environment_id: event.environment_id.as_ref().map(ToString::to_string),
            organization_id: event.organization_id.as_ref().map(ToString::to_string),
            version: version.map(|text| text.strip_suffix(&format!(" {}", &hash[..16])).unwrap().to_owned()),
            occurred_at: event.occurred_at.filter(|_| version.is_none()).map(|at| at.to_string()),
            subject: event.subject().map(str::to_owned),
            ..Self::default()
        };
        match &event.change {
            Change::User(_, user) => Self { user: Some(user.into()), ..observed },
            Change::Group(_, group) => Self { group: Some(group.into()), ..observed },
            Change::Organization(_, organization) => {
                Self { organization: Some(organization.into()), ..observed }
            }
            Change::Recorded => observed,
        }
    }
}

impl From<&UserChange> for ExpectedUser {
    fn from(user: &UserChange) -> Self {
        let deleted_email = match &user.status {
            Some(UserStatus::Deleted { email }) => email.clone(),
            _ => None,
        };
        Self {
            status: user.status.as_ref().map(|status| status.as_str().to_owned()),
            deleted_email,
            groups: user.groups.as_ref().map(|groups| groups.iter().map(ToString::to_string).collect()),
            profile: user.profile.as_ref().map(ExpectedProfile::from),
        }
    }
}

impl From<&Profile> for ExpectedProfile {
    fn from(profile: &Profile) -> Self {
        let Profile { email, name, given_name, family_name, user_name, dp_id, attributes: _, vendor_roles } =
            profile.clone();
        Self { email, name, given_name, family_name, user_name, dp_id, vendor_roles }
    }
}

impl From<&GroupChange> for ExpectedGroup {
    fn from(group: &GroupChange) -> Self {
        Self { status: group.status.as_str().to_owned(), named: group.name.clone().map(Named::from) }
    }
}

impl From<&OrganizationChange> for ExpectedOrganization {
    fn from(organization: &OrganizationChange) -> Self {
        Self {
            status: organization.status.map(|status| status.as_str().to_owned()),
            directory: organization.directory.map(|state| state.as_str().to_owned()),
            named: organization.name.clone().map(Named::from),
        }
    }
}

impl From<(Option<String>, Option<String>)> for Named {
    fn from((display_name, external_id): (Option<String>, Option<String>)) -> Self {
        Self { display_name, external_id }
    }
}
