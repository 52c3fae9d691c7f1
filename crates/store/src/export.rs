//! The state as others compare it: one object per person, sorted by id.

use std::collections::BTreeMap;

use sea_orm::{FromQueryResult, Statement};
use serde::{Deserialize, Serialize};

use crate::{Store, StoreError};

/// A person with access and roles derived. The field order is part of the contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The vendor's id.
    pub id: String,
    /// The customer.
    pub organization_id: String,
    /// `None` while nothing said it.
    pub email: Option<String>,
    /// `None` while nothing said it.
    pub name: Option<String>,
    /// `active`, `deactivated` or `deleted`.
    pub status: String,
    /// `active`, or why not.
    pub access: String,
    /// Ids of groups that are not deleted, sorted.
    pub groups: Vec<String>,
    /// Names, sorted, each once.
    pub roles: Vec<String>,
}

/// A group with its number of members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromQueryResult)]
pub struct GroupRow {
    /// The vendor's id.
    pub id: String,
    /// The customer.
    pub organization_id: String,
    /// `None` while only its members mentioned it.
    pub name: Option<String>,
    /// `active` or `deleted`.
    pub status: String,
    /// People whose latest set of groups holds it, whatever their status.
    pub members: i64,
}

#[derive(FromQueryResult)]
struct Person {
    id: String,
    organization_id: String,
    email: Option<String>,
    name: Option<String>,
    status: String,
    access: String,
}

#[derive(FromQueryResult)]
struct Pair {
    user_id: String,
    value: String,
}

const PEOPLE: &str =
    "SELECT u.id, u.organization_id, COALESCE(u.email, u.status_email) AS email, u.name, u.status,
        a.access
     FROM users u JOIN access a ON a.user_id = u.id
     WHERE u.id > $1 AND ($2 = '' OR u.organization_id = $2) ORDER BY u.id LIMIT $3";

const PERSON: &str =
    "SELECT u.id, u.organization_id, COALESCE(u.email, u.status_email) AS email, u.name, u.status,
        a.access
     FROM users u JOIN access a ON a.user_id = u.id WHERE u.id = $1";

const GROUPS_OF: &str = "SELECT m.user_id, m.group_id AS value
     FROM memberships m JOIN groups g ON g.id = m.group_id AND g.status <> 'deleted'
     WHERE m.user_id BETWEEN $1 AND $2 ORDER BY m.user_id, m.group_id";

const ROLES_OF: &str = "SELECT DISTINCT r.user_id, r.role AS value FROM roles r
     WHERE r.user_id BETWEEN $1 AND $2 ORDER BY r.user_id, r.role";

const GROUPS: &str = "SELECT g.id, g.organization_id, g.name, g.status,
        (SELECT count(*) FROM memberships m WHERE m.group_id = g.id) AS members
     FROM groups g WHERE g.id > $1 AND ($2 = '' OR g.organization_id = $2) ORDER BY g.id LIMIT $3";

impl Store {
    /// People with a higher id than `after`, at most `limit`, of one customer or (`None`) of all; as of one
    /// moment.
    pub async fn people(
        &self,
        organization: Option<&str>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Exported>, StoreError> {
        self.page(PEOPLE, [after.into(), organization.unwrap_or_default().into(), i64::from(limit).into()])
            .await
    }

    async fn page<const N: usize>(
        &self,
        sql: &str,
        values: [sea_orm::Value; N],
    ) -> Result<Vec<Exported>, StoreError> {
        self.within(async {
            let snapshot = self.snapshot().await?;
            let people = Person::find_by_statement(self.read(sql, values)).all(&snapshot).await?;
            let (Some(first), Some(last)) = (people.first(), people.last()) else { return Ok(Vec::new()) };
            let range = || [first.id.as_str().into(), last.id.as_str().into()];
            let groups = Pair::find_by_statement(self.read(GROUPS_OF, range())).all(&snapshot).await?;
            let roles = Pair::find_by_statement(self.read(ROLES_OF, range())).all(&snapshot).await?;
            let (mut groups, mut roles) = (by_person(groups), by_person(roles));
            Ok(people.into_iter().map(|person| exported(person, &mut groups, &mut roles)).collect())
        })
        .await
    }

    /// One person; `None` for an id nothing has mentioned.
    pub async fn person(&self, id: &str) -> Result<Option<Exported>, StoreError> {
        let page = self.page(PERSON, [id.into()]).await?;
        Ok(page.into_iter().next())
    }

    /// Groups with a higher id than `after`, at most `limit`.
    pub async fn groups(
        &self,
        organization: Option<&str>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<GroupRow>, StoreError> {
        let page = [after.into(), organization.unwrap_or_default().into(), i64::from(limit).into()];
        self.within(async {
            Ok(GroupRow::find_by_statement(self.read(GROUPS, page)).all(self.reader()).await?)
        })
        .await
    }

    fn read<const N: usize>(&self, sql: &str, values: [sea_orm::Value; N]) -> Statement {
        Statement::from_sql_and_values(self.reader().get_database_backend(), sql, values)
    }
}

fn by_person(pairs: Vec<Pair>) -> BTreeMap<String, Vec<String>> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Pair { user_id, value } in pairs {
        values.entry(user_id).or_default().push(value);
    }
    values
}

fn exported(
    person: Person,
    groups: &mut BTreeMap<String, Vec<String>>,
    roles: &mut BTreeMap<String, Vec<String>>,
) -> Exported {
    Exported {
        groups: groups.remove(&person.id).unwrap_or_default(),
        roles: roles.remove(&person.id).unwrap_or_default(),
        id: person.id,
        organization_id: person.organization_id,
        email: person.email,
        name: person.name,
        status: person.status,
        access: person.access,
    }
}
