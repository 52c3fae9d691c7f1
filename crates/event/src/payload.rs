//! The vendor's field names, in one place.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{
    Change, DirectoryEvent, DirectoryState, GroupChange, GroupStatus, OrganizationChange, OrganizationStatus,
    Profile, UserChange, UserStatus,
};
use crate::fields::{Fields, flag, invalid, parsed, text};
use crate::scan::scan;
use crate::{
    BodyHash, EnvironmentId, EventId, GroupId, OccurredAt, OrganizationId, Unreadable, UserId, Version,
};

/// Every documented type. Those without an arm in [`change`] are recorded only.
const CATALOGUE: [&str; 51] = [
    "organization.directory.user_created",
    "organization.directory.user_updated",
    "organization.directory.user_deleted",
    "organization.directory.group_created",
    "organization.directory.group_updated",
    "organization.directory.group_deleted",
    "organization.directory_created",
    "organization.directory_enabled",
    "organization.directory_disabled",
    "organization.created",
    "organization.updated",
    "organization.deleted",
    "organization.domain_created",
    "organization.domain_deleted",
    "organization.domain_dns_verification_success",
    "organization.domain_dns_verification_failed",
    "organization.sso_created",
    "organization.sso_enabled",
    "organization.sso_disabled",
    "organization.sso_deleted",
    "user.signup",
    "user.login",
    "user.logout",
    "user.organization_invitation",
    "user.organization_membership_created",
    "user.organization_membership_updated",
    "user.organization_membership_deleted",
    "role.created",
    "role.updated",
    "role.deleted",
    "permission.created",
    "permission.updated",
    "permission.deleted",
    "connected_account.created",
    "connected_account.updated",
    "connected_account.status_updated",
    "connected_account.deleted",
    "connected_account.magic_link_generated",
    "connected_account.oauth_tokens_fetched",
    "connected_account.token_refresh_succeeded",
    "connected_account.token_refresh_failed",
    "connected_account.oauth_succeeded",
    // Names used before the vendor renamed its events; recorded should one ever come.
    "scalekit.dir.user.create",
    "scalekit.dir.user.update",
    "scalekit.dir.user.delete",
    "scalekit.dir.group.create",
    "scalekit.dir.group.update",
    "scalekit.dir.group.delete",
    "scalekit.dir.sync.enable",
    "scalekit.dir.sync.disable",
    "scalekit.org.create",
];

pub(crate) fn catalogue_name(kind: &str) -> &'static str {
    CATALOGUE.into_iter().find(|name| *name == kind).unwrap_or("other")
}

/// Longest e-mail accepted, in bytes: RFC 5321 ends at 254; an index entry at 2,700.
const LONGEST_EMAIL: usize = 1024;

/// Reads a body; see [`DirectoryEvent::parse`].
pub(crate) fn read(body: &[u8]) -> Result<DirectoryEvent, Unreadable> {
    let mut envelope = Fields::parse(scan(body)?)?;
    if envelope.text("spec_version")?.is_some_and(|version| version != "1") {
        return Err(Unreadable::SpecVersion);
    }
    let id = envelope.required("id", EventId::parse)?;
    // A type obeys the rules of ids: it is stored, indexed and shown.
    let kind = envelope.required("type", EventId::parse)?.into_string();
    let occurred_at = match envelope.text("occurred_at")? {
        Some(text) => {
            Some(OccurredAt::parse(&text).ok_or_else(|| invalid("occurred_at", "is no RFC 3339 time"))?)
        }
        None => None,
    };
    let mut event = DirectoryEvent {
        id,
        body_sha256: BodyHash::of(body),
        kind,
        occurred_at,
        environment_id: envelope.id("environment_id", EnvironmentId::parse)?,
        organization_id: envelope.id("organization_id", OrganizationId::parse)?,
        change: Change::Recorded,
    };
    event.change = change(&event, envelope.take("data"))?;
    match &event.change {
        Change::User(_, UserChange { organization_id: id, .. })
        | Change::Group(_, GroupChange { organization_id: id, .. })
        | Change::Organization(_, OrganizationChange { id, .. }) => event.organization_id = Some(id.clone()),
        Change::Recorded => {}
    }
    Ok(event)
}

fn change(event: &DirectoryEvent, data: Option<&RawValue>) -> Result<Change, Unreadable> {
    match event.kind.as_str() {
        "organization.directory.user_created" => user(event, data, Moment::Created),
        "organization.directory.user_updated" => user(event, data, Moment::Updated),
        "organization.directory.user_deleted" => user(event, data, Moment::Deleted),
        "organization.directory.group_created" => group(event, data, Moment::Created),
        "organization.directory.group_updated" => group(event, data, Moment::Updated),
        "organization.directory.group_deleted" => group(event, data, Moment::Deleted),
        "organization.created" => organization(event, data, Moment::Created),
        "organization.updated" => organization(event, data, Moment::Updated),
        "organization.deleted" => organization(event, data, Moment::Deleted),
        "organization.directory_enabled" => directory(event, data, DirectoryState::Enabled),
        "organization.directory_disabled" => directory(event, data, DirectoryState::Disabled),
        _ => Ok(Change::Recorded),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Moment {
    Created,
    Updated,
    Deleted,
}

fn user(event: &DirectoryEvent, data: Option<&RawValue>, moment: Moment) -> Result<Change, Unreadable> {
    let mut fields = data_fields(data)?;
    let id = fields.required("id", UserId::parse)?;
    let organization_id = organization_of(event, fields.id("organization_id", OrganizationId::parse)?)?;
    let email = email(&mut fields);
    let (profile, groups, status) = if moment == Moment::Deleted {
        (None, None, Some(UserStatus::Deleted { email: email.unwrap_or_default() }))
    } else {
        let status = stated_status(&mut fields, moment)?;
        let groups = fields.take("groups").map(group_ids).transpose();
        let profile = email.and_then(|email| profile(email, fields));
        match status {
            // A leaver must leave although something else about them cannot be read; what cannot is not written.
            Some(UserStatus::Deactivated) => (profile.ok(), groups.unwrap_or_default(), status),
            _ => (Some(profile?), groups?, status),
        }
    };
    let takes_access_away = matches!(status, Some(UserStatus::Deactivated | UserStatus::Deleted { .. }));
    let change = UserChange { id, organization_id, profile, groups, status };
    Ok(Change::User(version(event, takes_access_away)?, change))
}

fn email(fields: &mut Fields<'_>) -> Result<Option<String>, Unreadable> {
    let email = fields.text("email")?;
    match email {
        Some(long) if long.len() > LONGEST_EMAIL => {
            Err(invalid("email", format!("is longer than {LONGEST_EMAIL} bytes")))
        }
        email => Ok(email),
    }
}

/// What a creation or update says of the status: `active`, else `raw_attributes.active`, else that a
/// created person is active.
fn stated_status(fields: &mut Fields<'_>, moment: Moment) -> Result<Option<UserStatus>, Unreadable> {
    let stated = match flag(fields.take("active"), "active")? {
        Some(active) => Some(active),
        None => raw_active(fields.peek("raw_attributes"))?,
    };
    Ok(match (stated, moment) {
        (Some(false), _) => Some(UserStatus::Deactivated),
        (Some(true), _) | (None, Moment::Created) => Some(UserStatus::Active),
        (None, _) => None,
    })
}

/// The identity provider's own words are free-form: another shape than a flag says nothing, and other
/// keys may stand twice. `active` may not: one reader would see a leaver where another sees none.
fn raw_active(raw: Option<&RawValue>) -> Result<Option<bool>, Unreadable> {
    #[derive(Deserialize)]
    struct Stated<'a> {
        #[serde(borrow)]
        active: Option<&'a RawValue>,
    }
    let Some(object) = raw.filter(|raw| raw.get().starts_with('{')) else { return Ok(None) };
    let stated: Stated<'_> = serde_json::from_str(object.get())
        .map_err(|_| Unreadable::DuplicateKey("raw_attributes.active".to_owned()))?;
    Ok(flag(stated.active, "raw_attributes.active").unwrap_or(None))
}

fn profile(email: Option<String>, mut fields: Fields<'_>) -> Result<Profile, Unreadable> {
    let given_name = fields.text("given_name")?;
    let family_name = fields.text("family_name")?;
    let stated_name = fields.text("name")?;
    let parts: Vec<&str> = [&given_name, &family_name].into_iter().flatten().map(String::as_str).collect();
    let full_name = (!parts.is_empty()).then(|| parts.join(" "));
    Ok(Profile {
        email,
        name: stated_name.or(full_name),
        given_name,
        family_name,
        user_name: fields.text("preferred_username")?,
        dp_id: dp_id(&mut fields)?,
        vendor_roles: role_names(fields.take("roles"))?,
        attributes: fields.rest()?,
    })
}

/// `dp_id`, else `external_id`; where both are said the second stays among the attributes.
fn dp_id(fields: &mut Fields<'_>) -> Result<Option<String>, Unreadable> {
    match fields.text("dp_id")? {
        Some(id) => Ok(Some(id)),
        None => fields.text("external_id"),
    }
}

/// A user's whole set of groups; null and `[]` mean none.
fn group_ids(groups: &RawValue) -> Result<BTreeSet<GroupId>, Unreadable> {
    objects(groups, "groups", "is no list of groups")?
        .into_iter()
        .map(|mut group| {
            let id = text(group.take("id"), "groups[].id")?.ok_or(Unreadable::MissingId("groups[].id"))?;
            GroupId::parse(id).map_err(|error| invalid("groups[].id", error.to_string()))
        })
        .collect()
}

/// `roles[].role_name`; entries without one say nothing.
fn role_names(roles: Option<&RawValue>) -> Result<Vec<String>, Unreadable> {
    let Some(roles) = roles else { return Ok(Vec::new()) };
    let mut names = BTreeSet::new();
    for mut role in objects(roles, "roles", "is no list of roles")? {
        names.extend(text(role.take("role_name"), "roles[].role_name")?);
    }
    Ok(names.into_iter().collect())
}

/// The objects in a list; null is an empty one.
fn objects<'a>(
    list: &'a RawValue,
    field: &'static str,
    problem: &str,
) -> Result<Vec<Fields<'a>>, Unreadable> {
    let listed: Option<Vec<&RawValue>> = parsed(list, field, problem)?;
    let objects = listed.unwrap_or_default().into_iter().map(|item| match item.get().starts_with('{') {
        true => Fields::parse(item.get()),
        false => Err(invalid(field, problem)),
    });
    objects.collect()
}

fn group(event: &DirectoryEvent, data: Option<&RawValue>, moment: Moment) -> Result<Change, Unreadable> {
    let mut fields = data_fields(data)?;
    let id = fields.required("id", GroupId::parse)?;
    let organization_id = organization_of(event, fields.id("organization_id", OrganizationId::parse)?)?;
    let deleted = moment == Moment::Deleted;
    let (name, status) = if deleted {
        (None, GroupStatus::Deleted)
    } else {
        let display_name = fields.text_of("display_name", "name")?;
        (Some((display_name, fields.text_of("external_id", "dp_id")?)), GroupStatus::Active)
    };
    Ok(Change::Group(version(event, deleted)?, GroupChange { id, organization_id, name, status }))
}

fn organization(
    event: &DirectoryEvent,
    data: Option<&RawValue>,
    moment: Moment,
) -> Result<Change, Unreadable> {
    let mut fields = data_fields(data)?;
    let id = organization_of(event, fields.id("id", OrganizationId::parse)?)?;
    let deleted = moment == Moment::Deleted;
    let (name, status) = if deleted {
        (None, OrganizationStatus::Deleted)
    } else {
        let display_name = fields.text_of("display_name", "name")?;
        (Some((display_name, fields.text("external_id")?)), OrganizationStatus::Active)
    };
    let change = OrganizationChange { id, name, status: Some(status), directory: None };
    Ok(Change::Organization(version(event, deleted)?, change))
}

/// The type says whether it is on; the vendor's own samples disagree about `enabled`.
fn directory(
    event: &DirectoryEvent,
    data: Option<&RawValue>,
    state: DirectoryState,
) -> Result<Change, Unreadable> {
    let mut fields = data_fields(data)?;
    let id = organization_of(event, fields.id("organization_id", OrganizationId::parse)?)?;
    let change = OrganizationChange { id, name: None, status: None, directory: Some(state) };
    Ok(Change::Organization(version(event, state == DirectoryState::Disabled)?, change))
}

/// The customer: named in the envelope, in the data, or in both alike.
fn organization_of(
    event: &DirectoryEvent,
    stated: Option<OrganizationId>,
) -> Result<OrganizationId, Unreadable> {
    match (&event.organization_id, stated) {
        (Some(envelope), Some(data)) if *envelope != data => Err(Unreadable::OrganizationMismatch),
        (_, Some(id)) => Ok(id),
        (Some(id), None) => Ok(id.clone()),
        (None, None) => Err(Unreadable::MissingId("organization_id")),
    }
}

fn version(event: &DirectoryEvent, takes_access_away: bool) -> Result<Version, Unreadable> {
    let at = event.occurred_at.ok_or_else(|| invalid("occurred_at", "is missing"))?;
    Ok(Version::new(at, takes_access_away, &event.id, &event.body_sha256))
}

fn data_fields(data: Option<&RawValue>) -> Result<Fields<'_>, Unreadable> {
    let data = data.ok_or(Unreadable::MissingId("data"))?;
    if !data.get().starts_with('{') {
        return Err(invalid("data", "is no object"));
    }
    Fields::parse(data.get())
}
