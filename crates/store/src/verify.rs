//! The fold of the stored events against the tables.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use rollcall_event::{Change, DirectoryEvent, GroupChange, OrganizationChange, UserChange, Version};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Statement, Value};
use serde::Serialize;

use crate::{Store, StoreError};

/// One register that is not as the events say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `user`, `group` or `organization`.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// The register.
    pub register: &'static str,
    /// Version that the events give; `None` where they know nothing of it.
    pub expected: Option<String>,
    /// Version in the table; the same as expected where only the content differs.
    pub found: Option<String>,
}

/// What a verification looked at, and what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Events folded.
    pub events: u64,
    /// Rows compared.
    pub rows: u64,
    /// Everything that differs.
    pub differences: Vec<Difference>,
}

/// A register's version and a hash of its content, which keeps a million people in memory.
type Registers = BTreeMap<&'static str, (String, u64)>;

#[derive(Default)]
struct State(BTreeMap<(&'static str, String), Registers>);

impl State {
    fn raise(
        &mut self,
        kind: &'static str,
        id: &str,
        register: &'static str,
        version: &Version,
        content: impl Hash,
    ) {
        let registers = self.0.entry((kind, id.to_owned())).or_default();
        let newer = registers.get(register).is_none_or(|(current, _)| version.as_str() > current.as_str());
        if newer {
            registers.insert(register, (version.as_str().to_owned(), hashed(content)));
        }
    }

    fn add(&mut self, event: &DirectoryEvent) {
        match &event.change {
            Change::User(version, user) => self.user(version, user),
            Change::Group(version, group) => self.group(version, group),
            Change::Organization(version, organization) => self.organization(version, organization),
            Change::Recorded => {}
        }
    }

    fn user(&mut self, version: &Version, user: &UserChange) {
        let id = user.id.as_str();
        self.mention("user", id, user_unwritten);
        if let Some(profile) = &user.profile {
            let roles = serde_json::Value::from(profile.vendor_roles.clone()).to_string();
            let content = (
                [&profile.email, &profile.name, &profile.given_name, &profile.family_name],
                [&profile.user_name, &profile.dp_id],
                &profile.attributes,
                roles,
            );
            self.raise("user", id, "profile", version, content);
        }
        if let Some(groups) = &user.groups {
            let groups: Vec<&str> = groups.iter().map(|group| group.as_str()).collect();
            groups.iter().for_each(|group| self.mention("group", group, group_unwritten));
            self.raise("user", id, "groups", version, groups);
        }
        if let Some(status) = &user.status {
            let email = match status {
                rollcall_event::UserStatus::Deleted { email } => email.clone(),
                _ => None,
            };
            self.raise("user", id, "status", version, (status.as_str(), email));
        }
        self.raise("user", id, "organization", version, user.organization_id.as_str());
    }

    /// Expects a row, and in the registers that nothing writes what a new row has.
    fn mention(&mut self, kind: &'static str, id: &str, unwritten: fn() -> Vec<(&'static str, u64)>) {
        self.0.entry((kind, id.to_owned())).or_insert_with(|| {
            unwritten().into_iter().map(|(register, content)| (register, (String::new(), content))).collect()
        });
    }

    fn group(&mut self, version: &Version, group: &GroupChange) {
        self.mention("group", group.id.as_str(), group_unwritten);
        if let Some(name) = &group.name {
            self.raise("group", group.id.as_str(), "name", version, name);
        }
        self.raise("group", group.id.as_str(), "status", version, group.status.as_str());
        self.raise("group", group.id.as_str(), "organization", version, group.organization_id.as_str());
    }

    fn organization(&mut self, version: &Version, organization: &OrganizationChange) {
        let id = organization.id.as_str();
        self.mention("organization", id, organization_unwritten);
        if let Some(name) = &organization.name {
            self.raise("organization", id, "name", version, name);
        }
        if let Some(status) = organization.status {
            self.raise("organization", id, "status", version, status.as_str());
        }
        if let Some(directory) = organization.directory {
            self.raise("organization", id, "directory", version, Some(directory.as_str()));
        }
    }
}

fn user_unwritten() -> Vec<(&'static str, u64)> {
    let profile = ([&None::<String>; 4], [&None::<String>; 2], "{}", "[]");
    let status = ("active", None::<String>);
    vec![("profile", hashed(profile)), ("groups", hashed(Vec::<&str>::new())), ("status", hashed(status))]
}

fn group_unwritten() -> Vec<(&'static str, u64)> {
    vec![("name", hashed((None::<String>, None::<String>))), ("status", hashed("active"))]
}

fn organization_unwritten() -> Vec<(&'static str, u64)> {
    let name = (None::<String>, None::<String>);
    vec![("name", hashed(name)), ("status", hashed("active")), ("directory", hashed(None::<&str>))]
}

fn hashed(content: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// Events and rows read at a time.
const PAGE: i64 = 2_000;

impl Store {
    /// Folds every stored event that was applied or superseded and compares the result with the tables, as of
    /// one moment. Memory grows with the number of people, not of events.
    pub async fn verify(&self) -> Result<Verification, StoreError> {
        let snapshot = self.snapshot().await?;
        let mut state = State::default();
        let events = fold_events(&snapshot, &mut state).await?;
        let mut verification = Verification { events, ..Default::default() };
        compare_users(&snapshot, &mut state, &mut verification).await?;
        compare_groups(&snapshot, &mut state, &mut verification).await?;
        compare_organizations(&snapshot, &mut state, &mut verification).await?;
        for ((kind, id), registers) in state.0 {
            verification.missing(kind, &id, registers);
        }
        Ok(verification)
    }
}

impl Verification {
    /// Compares one row's registers with what the events say of it.
    fn row(&mut self, state: &mut State, kind: &'static str, id: String, found: Registers) {
        self.rows += 1;
        let mut expected = state.0.remove(&(kind, id.clone())).unwrap_or_default();
        for (register, (version, content)) in found {
            match expected.remove(register) {
                Some((wanted, hash)) if wanted == version && hash == content => {}
                // Whose member mentioned a group first depends on the order.
                None if version.is_empty() && (kind, register) == ("group", "organization") => {}
                wanted => self.differences.push(Difference {
                    kind,
                    id: id.clone(),
                    register,
                    expected: wanted.map(|(version, _)| version),
                    found: Some(version),
                }),
            }
        }
        self.missing(kind, &id, expected);
    }

    fn missing(&mut self, kind: &'static str, id: &str, registers: Registers) {
        for (register, (version, _)) in registers {
            let id = id.to_owned();
            self.differences.push(Difference { kind, id, register, expected: Some(version), found: None });
        }
    }
}

async fn read(
    snapshot: &DatabaseTransaction,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<QueryResult>, StoreError> {
    let statement = Statement::from_sql_and_values(snapshot.get_database_backend(), sql, values);
    Ok(snapshot.query_all_raw(statement).await?)
}

async fn fold_events(snapshot: &DatabaseTransaction, state: &mut State) -> Result<u64, StoreError> {
    const SQL: &str = "SELECT source, event_id, body_sha256, body FROM events
        WHERE (source, event_id, body_sha256) > ($1, $2, $3) AND outcome IN ('applied', 'superseded')
        ORDER BY source, event_id, body_sha256 LIMIT $4";
    let (mut source, mut event_id, mut hash) = (String::new(), String::new(), Vec::<u8>::new());
    let mut events = 0;
    loop {
        let after = [source.as_str().into(), event_id.as_str().into(), hash.clone().into(), PAGE.into()];
        let rows = read(snapshot, SQL, after).await?;
        for row in &rows {
            let body = Bytes::from(row.try_get::<Vec<u8>>("", "body")?);
            let event = DirectoryEvent::parse(&body)
                .map_err(|error| StoreError::Corrupt(format!("a stored event cannot be read: {error}")))?;
            state.add(&event);
            events += 1;
        }
        let Some(last) = rows.last() else { return Ok(events) };
        (source, event_id, hash) =
            (last.try_get("", "source")?, last.try_get("", "event_id")?, last.try_get("", "body_sha256")?);
    }
}

async fn compare_users(
    snapshot: &DatabaseTransaction,
    state: &mut State,
    verification: &mut Verification,
) -> Result<(), StoreError> {
    let mut after = String::new();
    loop {
        let sql = "SELECT * FROM users WHERE id > $1 ORDER BY id LIMIT $2";
        let rows = read(snapshot, sql, [after.as_str().into(), PAGE.into()]).await?;
        let last: Option<String> = rows.last().map(|row| row.try_get("", "id")).transpose()?;
        let mut groups = memberships(snapshot, &after, last.as_deref()).await?;
        for row in &rows {
            let id: String = row.try_get("", "id")?;
            let memberships = groups.remove(&id).unwrap_or_default();
            verification.row(state, "user", id, user_registers(row, &memberships)?);
        }
        for nobody in groups.into_keys() {
            let found = Registers::from([("groups", (String::new(), 0))]);
            verification.row(&mut State::default(), "user", nobody, found);
        }
        let Some(last) = last else { return Ok(()) };
        after = last;
    }
}

/// Groups by person, of those behind `after` up to `last`, or to the end.
async fn memberships(
    snapshot: &DatabaseTransaction,
    after: &str,
    last: Option<&str>,
) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
    const SQL: &str = "SELECT user_id, group_id FROM memberships WHERE user_id > $1";
    let (sql, values) = match last {
        Some(last) => (format!("{SQL} AND user_id <= $2"), vec![after.into(), last.into()]),
        None => (SQL.to_owned(), vec![after.into()]),
    };
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in read(snapshot, &format!("{sql} ORDER BY user_id, group_id"), values).await? {
        groups.entry(row.try_get("", "user_id")?).or_default().push(row.try_get("", "group_id")?);
    }
    Ok(groups)
}

fn user_registers(row: &QueryResult, groups: &[String]) -> Result<Registers, StoreError> {
    let maybe = |name: &str| row.try_get::<Option<String>>("", name);
    let text = |name: &str| row.try_get::<String>("", name);
    let profile = (
        [&maybe("email")?, &maybe("name")?, &maybe("given_name")?, &maybe("family_name")?],
        [&maybe("user_name")?, &maybe("dp_id")?],
        &text("attributes")?,
        text("vendor_roles")?,
    );
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    Ok(Registers::from([
        ("profile", (text("profile_version")?, hashed(profile))),
        ("groups", (text("groups_version")?, hashed(groups))),
        ("status", (text("status_version")?, hashed((text("status")?.as_str(), maybe("status_email")?)))),
        ("organization", (text("organization_version")?, hashed(text("organization_id")?.as_str()))),
    ]))
}

async fn compare_groups(
    snapshot: &DatabaseTransaction,
    state: &mut State,
    verification: &mut Verification,
) -> Result<(), StoreError> {
    for row in read(snapshot, "SELECT * FROM groups ORDER BY id", []).await? {
        let maybe = |name: &str| row.try_get::<Option<String>>("", name);
        let text = |name: &str| row.try_get::<String>("", name);
        let registers = Registers::from([
            ("name", (text("name_version")?, hashed((maybe("name")?, maybe("dp_id")?)))),
            ("status", (text("status_version")?, hashed(text("status")?.as_str()))),
            ("organization", (text("organization_version")?, hashed(text("organization_id")?.as_str()))),
        ]);
        verification.row(state, "group", text("id")?, registers);
    }
    Ok(())
}

async fn compare_organizations(
    snapshot: &DatabaseTransaction,
    state: &mut State,
    verification: &mut Verification,
) -> Result<(), StoreError> {
    for row in read(snapshot, "SELECT * FROM organizations ORDER BY id", []).await? {
        let maybe = |name: &str| row.try_get::<Option<String>>("", name);
        let text = |name: &str| row.try_get::<String>("", name);
        let name = (maybe("display_name")?, maybe("external_id")?);
        let registers = Registers::from([
            ("name", (text("name_version")?, hashed(name))),
            ("status", (text("status_version")?, hashed(text("status")?.as_str()))),
            ("directory", (text("directory_version")?, hashed(maybe("directory")?.as_deref()))),
        ]);
        // An operator may have made the row, and events that were held or only recorded mention it too.
        state.mention("organization", &text("id")?, organization_unwritten);
        verification.row(state, "organization", text("id")?, registers);
    }
    Ok(())
}
