//! What is sent: bodies as a directory writes them, and requests signed and serialised in advance.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rollcall_event::clock;
use rollcall_signature::{HeaderFamily, Key, signed_headers};

/// Bytes of a body about a person: what the vendor's own examples come to with a few attributes.
pub(crate) const BODY: usize = 1500;

/// Who there is. The same numbers name the same people here and in the SQL that seeds them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Population {
    pub(crate) users: u64,
    pub(crate) organizations: u64,
    pub(crate) groups_each: u64,
}

impl Population {
    /// A hundred customers of a hundred people with ten groups each, or as many more people.
    pub(crate) const fn of(users: u64) -> Self {
        Self { users, organizations: 100, groups_each: 10 }
    }

    /// Event `number`'s person: a prime steps through all of them before it comes back to the first.
    pub(crate) fn user(self, number: u64) -> u64 {
        number.wrapping_mul(7_919) % self.users
    }

    pub(crate) fn organization(self, user: u64) -> u64 {
        user % self.organizations
    }

    /// Two different groups of the person's organization; others with the next event.
    pub(crate) fn groups(self, user: u64, number: u64) -> [u64; 2] {
        let base = self.organization(user) * self.groups_each;
        let apart = 1 + (number / self.groups_each) % (self.groups_each - 1);
        [base + number % self.groups_each, base + (number + apart) % self.groups_each]
    }
}

/// An event on its way, not signed yet.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) body: Bytes,
}

/// Makes events of one run: ids no other run has, each a microsecond after the one before.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    run: String,
    began: DateTime<Utc>,
}

impl Events {
    /// Of a run of this name.
    pub(crate) fn of(run: &str) -> Self {
        Self { run: format!("{run}{:08x}", rand::random::<u32>()), began: clock::now() }
    }

    /// What the ids of this run begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("evt_{}", self.run)
    }

    /// `count` updates of people's profiles and groups.
    pub(crate) fn updates(&self, people: Population, count: u64) -> Vec<Event> {
        (0..count)
            .map(|number| {
                let user = people.user(number);
                self.update(people, number, user, &people.groups(user, number))
            })
            .collect()
    }

    /// One update, of [`BODY`] bytes where its groups fit into that.
    pub(crate) fn update(&self, people: Population, number: u64, user: u64, groups: &[u64]) -> Event {
        let organization = people.organization(user);
        let groups: Vec<String> =
            groups.iter().map(|id| format!(r#"{{"id":"dirgroup_{id:017}","name":"Group {id}"}}"#)).collect();
        let data = |note: &str| {
            format!(
                concat!(
                    r#"{{"id":"diruser_{user:017}","organization_id":"org_{organization:017}","#,
                    r#""dp_id":"00u{user:012}","active":true,"email":"person{user}@example.com","#,
                    r#""preferred_username":"person{user}@example.com","name":"Person {user}","given_name":"Person","#,
                    r#""family_name":"Number {user}","title":"Analyst","department":"Finance","employee_id":"E-{number}","#,
                    r#""locale":"en-US","groups":[{groups}],"roles":[{{"role_name":"member"}}],"#,
                    r#""custom_attributes":{{"note":"{note}"}},"raw_attributes":{{"#,
                    r#""schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"externalId":"00u{user:012}","#,
                    r#""userName":"person{user}@example.com","name":{{"givenName":"Person","familyName":"Number {user}"}},"#,
                    r#""emails":[{{"primary":true,"type":"work","value":"person{user}@example.com"}}],"active":true}}}}"#,
                ),
                user = user,
                organization = organization,
                number = number,
                groups = groups.join(","),
                note = note,
            )
        };
        let bare = self.event("organization.directory.user_updated", number, organization, &data(""));
        let note = "n".repeat(BODY.saturating_sub(bare.body.len()));
        self.event("organization.directory.user_updated", number, organization, &data(&note))
    }

    /// A leaver.
    pub(crate) fn leaver(&self, people: Population, number: u64, user: u64) -> Event {
        let organization = people.organization(user);
        let data = format!(
            r#"{{"id":"diruser_{user:017}","organization_id":"org_{organization:017}","dp_id":"00u{user:012}","email":"person{user}@example.com"}}"#
        );
        self.event("organization.directory.user_deleted", number, organization, &data)
    }

    /// The end of a group.
    pub(crate) fn group_deleted(&self, number: u64, organization: u64, group: u64) -> Event {
        let data = format!(
            r#"{{"id":"dirgroup_{group:017}","organization_id":"org_{organization:017}","dp_id":"g-{group}"}}"#
        );
        self.event("organization.directory.group_deleted", number, organization, &data)
    }

    fn event(&self, kind: &str, number: u64, organization: u64, data: &str) -> Event {
        let at = self.began + TimeDelta::microseconds(i64::try_from(number).unwrap_or(0));
        let at = at.to_rfc3339_opts(SecondsFormat::Nanos, true);
        let id = format!("evt_{}{number:09}", self.run);
        let object = if kind.contains(".group_") { "DirectoryGroup" } else { "DirectoryUser" };
        let body = format!(
            concat!(
                r#"{{"spec_version":"1","id":"{id}","type":"{kind}","occurred_at":"{at}","#,
                r#""environment_id":"env_70000000000000001","organization_id":"org_{organization:017}","#,
                r#""object":"{object}","data":{data},"display_name":""}}"#,
            ),
            id = id,
            kind = kind,
            at = at,
            organization = organization,
            object = object,
            data = data,
        );
        Event { id, body: body.into() }
    }
}

/// Requests as they go over the wire, signed now: they must be sent within the 300 seconds a door tolerates.
pub(crate) fn signed(events: &[Event], key: &Key) -> Vec<Bytes> {
    let now = clock::now();
    events.iter().map(|event| request(event, key, now)).collect()
}

fn request(event: &Event, key: &Key, now: DateTime<Utc>) -> Bytes {
    let headers =
        signed_headers(key, HeaderFamily::Webhook, &event.id.replace("evt_", "msg_"), now, &event.body);
    let mut bytes = Vec::with_capacity(event.body.len() + 400);
    bytes.extend_from_slice(
        b"POST /webhooks/scalekit HTTP/1.1\r\nhost: rollcall\r\ncontent-type: application/json\r\n",
    );
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", event.body.len()).as_bytes());
    bytes.extend_from_slice(&event.body);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use rollcall_event::{Change, DirectoryEvent};

    use super::*;

    #[test]
    fn an_update_is_what_a_directory_sends() {
        let people = Population::of(10_000);
        let events = Events::of("t").updates(people, 100);
        for event in &events {
            assert_eq!(event.body.len(), BODY);
            let read = DirectoryEvent::parse(&event.body).unwrap();
            let Change::User(_, user) = &read.change else { panic!("{read:?}") };
            assert_eq!(user.groups.as_ref().unwrap().len(), 2);
        }
    }

    #[test]
    fn leavers_and_groups_are_read_too() {
        let events = Events::of("t");
        let leaver = events.leaver(Population::of(10), 1, 3);
        assert!(matches!(DirectoryEvent::parse(&leaver.body).unwrap().change, Change::User(..)));
        let group = events.group_deleted(2, 1, 3);
        assert!(matches!(DirectoryEvent::parse(&group.body).unwrap().change, Change::Group(..)));
    }
}
