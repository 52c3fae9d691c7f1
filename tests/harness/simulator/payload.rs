//! The vendor's JSON.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::company::{Group, Organization, Person};

/// The environment all of it happens in.
pub(super) const ENVIRONMENT: &str = "env_70000000000000001";

/// What a user event says besides the profile.
pub(super) struct Said {
    /// Groups as (id, name); `None` leaves the key out.
    pub(super) groups: Option<Vec<(String, String)>>,
    /// `None` leaves it out.
    pub(super) active: Option<bool>,
}

/// A body.
pub(super) fn envelope(organization: &Organization, id: &str, kind: &str, at: i64, data: &Value) -> Bytes {
    let object = match kind {
        kind if kind.contains(".user_") => "DirectoryUser",
        kind if kind.contains(".group_") => "DirectoryGroup",
        kind if kind.contains(".directory_") => "Directory",
        kind if kind.starts_with("role.") => "Role",
        kind if kind.starts_with("user.") => "User",
        _ => "Organization",
    };
    let body = json!({
        "spec_version": "1",
        "id": id,
        "type": kind,
        "occurred_at": organization.provider.write_time(at),
        "environment_id": ENVIRONMENT,
        "organization_id": organization.id,
        "object": object,
        "data": data,
        "display_name": "",
    });
    body.to_string().into()
}

/// `data` of `user_created` and `user_updated`.
pub(super) fn user(organization: &Organization, person: &Person, said: &Said) -> Value {
    let provider = organization.provider;
    let user_name = provider.user_name(&person.email);
    let mut raw = Map::from_iter([
        ("schemas".to_owned(), provider.schemas()),
        ("externalId".to_owned(), json!(person.dp_id)),
        ("userName".to_owned(), json!(user_name)),
        ("name".to_owned(), json!({"givenName": person.given, "familyName": person.family})),
        ("emails".to_owned(), json!([{"primary": true, "type": "work", "value": person.email}])),
    ]);
    let mut data = Map::from_iter([
        ("id".to_owned(), json!(person.id)),
        ("organization_id".to_owned(), json!(organization.id)),
        ("dp_id".to_owned(), json!(person.dp_id)),
        ("email".to_owned(), json!(person.email)),
        ("preferred_username".to_owned(), json!(user_name)),
        ("given_name".to_owned(), json!(person.given)),
        ("family_name".to_owned(), json!(person.family)),
        ("title".to_owned(), json!(person.title)),
        ("roles".to_owned(), json!([{"role_name": "member"}])),
        ("custom_attributes".to_owned(), json!({"badge": person.badge})),
    ]);
    if provider != super::Provider::Google {
        data.insert("name".to_owned(), json!(person.full_name()));
    }
    if let Some(groups) = &said.groups {
        let listed: Vec<Value> = groups.iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
        data.insert(
            "groups".to_owned(),
            if listed.is_empty() { provider.no_groups() } else { listed.into() },
        );
    }
    provider.say_active(&mut data, &mut raw, said.active);
    data.insert("raw_attributes".to_owned(), raw.into());
    data.into()
}

/// `data` of `user_deleted`.
pub(super) fn parting(organization: &Organization, person: &Person) -> Value {
    json!({
        "id": person.id,
        "organization_id": organization.id,
        "dp_id": person.dp_id,
        "email": person.email,
    })
}

/// `data` of the group events.
pub(super) fn group(organization: &Organization, group: &Group) -> Value {
    let mut data = json!({
        "id": group.id,
        "organization_id": organization.id,
        "directory_id": organization.directory_id,
        "display_name": group.name,
        "raw_attributes": {},
    });
    if group.exists {
        data["external_id"] = Value::Null;
    } else {
        data["dp_id"] = json!(format!("g-{}", group.id));
    }
    data
}

/// `data` of the organization events.
pub(super) fn organization(organization: &Organization) -> Value {
    json!({
        "id": organization.id,
        "display_name": organization.name,
        "external_id": format!("tenant-{}", organization.number),
        "region_code": "EU",
        "create_time": "2026-01-01T00:00:00Z",
        "metadata": null,
        "settings": {"features": [{"name": "sso", "enabled": false}, {"name": "dir_sync", "enabled": true}]},
    })
}

/// `data` of the directory events.
pub(super) fn directory(organization: &Organization, enabled: bool) -> Value {
    json!({
        "id": organization.directory_id,
        "organization_id": organization.id,
        "directory_type": "SCIM",
        "provider": organization.provider.as_str(),
        "enabled": enabled,
    })
}
