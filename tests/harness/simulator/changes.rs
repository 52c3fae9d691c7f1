//! What can happen in a company.

use std::collections::BTreeSet;

use rand::Rng;

use super::company::{Company, Group, GroupRef, Organization, OrganizationRef, Person, PersonRef};
use super::event::{Fact, Status};
use super::names::{CUSTOMERS, FAMILY, GIVEN, GROUPS, TITLES};
use super::payload;
use super::provider::Provider;

impl Company {
    /// A new customer switches its directory on.
    pub fn found(&mut self, provider: Provider) -> OrganizationRef {
        let number = self.organizations.len();
        let (name, domain) = CUSTOMERS[number % CUSTOMERS.len()];
        self.organizations.push(Organization {
            number,
            id: format!("org_7{number:016}"),
            directory_id: format!("dir_7{number:016}"),
            name: name.to_owned(),
            domain: domain.to_owned(),
            provider,
            exists: true,
        });
        let organization = OrganizationRef(number);
        self.tell_organization(organization, "organization.created", "becomes a customer");
        self.switch_directory(organization, true);
        organization
    }

    /// The customer is closed: nobody of it may come in.
    pub fn close(&mut self, organization: OrganizationRef) {
        self.organizations[organization.0].exists = false;
        self.tell_organization(organization, "organization.deleted", "is closed");
    }

    /// The customer is changed or, when closed, comes back.
    pub fn touch(&mut self, organization: OrganizationRef) {
        self.organizations[organization.0].exists = true;
        self.tell_organization(organization, "organization.updated", "is updated");
    }

    /// The customer's administrator switches the directory on or off. Nobody loses access by that.
    pub fn switch_directory(&mut self, organization: OrganizationRef, on: bool) {
        let customer = &self.organizations[organization.0];
        let data = payload::directory(customer, on);
        let (word, kind) = if on {
            ("on", "organization.directory_enabled")
        } else {
            ("off", "organization.directory_disabled")
        };
        let about = format!("{} switches its directory {word}", customer.name);
        self.tell(organization, kind, &data, Fact::Nothing, about);
    }

    /// A new group without members.
    pub fn form_group(&mut self, organization: OrganizationRef) -> GroupRef {
        let taken = self.groups.iter().filter(|group| group.organization == organization).count();
        match (GROUPS[taken % GROUPS.len()], taken / GROUPS.len()) {
            (name, 0) => self.form_group_named(organization, name),
            (name, round) => self.form_group_named(organization, &format!("{name} {}", round + 1)),
        }
    }

    /// A new group without members, by name.
    pub fn form_group_named(&mut self, organization: OrganizationRef, name: &str) -> GroupRef {
        let number = self.groups.len();
        let id = format!("dirgroup_7{number:016}");
        self.groups.push(Group { id, organization, name: name.to_owned(), exists: true });
        let group = GroupRef(number);
        self.tell_group(group, "organization.directory.group_created", "is formed");
        group
    }

    /// The group gets another name.
    pub fn rename_group(&mut self, group: GroupRef, name: &str) {
        let before = std::mem::replace(&mut self.groups[group.0].name, name.to_owned());
        self.tell_group(
            group,
            "organization.directory.group_updated",
            &format!("is the new name of {before}"),
        );
    }

    /// The group goes; each member is told of again, some before and some after it.
    pub fn dissolve_group(&mut self, group: GroupRef) {
        let members: Vec<_> = self.present_members(group);
        let early = self.random.random_range(0..=members.len());
        for member in &members[..early] {
            self.leave_group(*member, group);
        }
        self.groups[group.0].exists = false;
        self.tell_group(group, "organization.directory.group_deleted", "is dissolved");
        for member in &members[early..] {
            self.leave_group(*member, group);
        }
    }

    /// Somebody new, in up to two groups.
    pub fn hire(&mut self, organization: OrganizationRef) -> PersonRef {
        let (given, family) = (self.pick(&GIVEN), self.pick(&FAMILY));
        let groups = self.some_groups(organization);
        self.hire_into(organization, given, family, groups)
    }

    /// Somebody in these groups, by name.
    pub fn hire_named(
        &mut self,
        organization: OrganizationRef,
        name: (&str, &str),
        groups: &[GroupRef],
    ) -> PersonRef {
        self.hire_into(organization, name.0.to_owned(), name.1.to_owned(), groups.iter().copied().collect())
    }

    /// The person is in exactly these groups from now on.
    pub fn place(&mut self, person: PersonRef, groups: &[GroupRef]) {
        self.people[person.0].groups = groups.iter().copied().collect();
        let names: Vec<_> = groups.iter().map(|group| self.groups[group.0].name.as_str()).collect();
        let about = if names.is_empty() {
            "leaves every group".into()
        } else {
            format!("is now in {}", names.join(", "))
        };
        self.tell_updated(person, true, None, &about);
    }

    /// The person takes another family name; the address stays.
    pub fn marry(&mut self, person: PersonRef, family: &str) {
        family.clone_into(&mut self.people[person.0].family);
        self.tell_updated(person, false, None, "has a new name");
    }

    /// The person gets another title.
    pub fn promote(&mut self, person: PersonRef) {
        self.people[person.0].title = self.pick(&TITLES);
        self.tell_updated(person, false, None, "has a new title");
    }

    /// The person gets a new address.
    pub fn readdress(&mut self, person: PersonRef) {
        let (given, family) = (self.people[person.0].given.clone(), self.people[person.0].family.clone());
        self.people[person.0].email = self.new_address(self.people[person.0].organization, &given, &family);
        self.tell_updated(person, false, None, "has a new address");
    }

    /// Two people exchange their addresses: no order of writes keeps addresses unique meanwhile.
    pub fn swap_addresses(&mut self, one: PersonRef, other: PersonRef) {
        let first = self.people[one.0].email.clone();
        self.people[one.0].email = std::mem::replace(&mut self.people[other.0].email, first);
        self.tell_updated(one, false, None, "takes over an address");
        self.tell_updated(other, false, None, "takes over an address");
    }

    /// The person is switched off.
    pub fn deactivate(&mut self, person: PersonRef) {
        self.people[person.0].status = Status::Deactivated;
        self.tell_updated(person, false, Some(false), "is deactivated");
    }

    /// The person is switched on again.
    pub fn reactivate(&mut self, person: PersonRef) {
        self.people[person.0].status = Status::Active;
        self.tell_updated(person, false, Some(true), "is active again");
    }

    /// The person leaves: deleted, or switched off where the provider never deletes.
    pub fn leave(&mut self, person: PersonRef) {
        let organization = self.people[person.0].organization;
        if !self.organizations[organization.0].provider.deletes() {
            return self.deactivate(person);
        }
        self.people[person.0].status = Status::Deleted;
        let leaver = &self.people[person.0];
        let data = payload::parting(&self.organizations[organization.0], leaver);
        let fact = Fact::Person {
            id: leaver.id.clone(),
            organization: self.organizations[organization.0].id.clone(),
            profile: None,
            groups: None,
            status: Some(Status::Deleted),
            parting_email: Some(leaver.email.clone()),
        };
        let about = format!("{} leaves", leaver.full_name());
        self.tell(organization, "organization.directory.user_deleted", &data, fact, about);
    }

    /// A leaver comes back under the same id.
    pub fn rehire(&mut self, person: PersonRef) {
        let organization = self.people[person.0].organization;
        self.people[person.0].status = Status::Active;
        self.people[person.0].groups = self.some_groups(organization);
        self.tell_created(person, "is hired again");
    }

    /// Something that changes nobody's access, of a type that is only recorded.
    pub fn mention(&mut self, organization: OrganizationRef) {
        let kinds =
            ["role.updated", "user.login", "organization.domain_created", "organization.directory_created"];
        let kind = self.pick(&kinds);
        let data = serde_json::json!({"id": format!("other_{}", self.events), "name": "viewer"});
        self.tell(organization, &kind, &data, Fact::Nothing, format!("{kind}, which is only recorded"));
    }

    /// A body that nobody can read: cut off, or about nobody.
    pub fn garble(&mut self, organization: OrganizationRef) {
        let kind = "organization.directory.user_updated";
        self.tell(
            organization,
            kind,
            &serde_json::json!({"email": "?"}),
            Fact::Unreadable,
            "an unreadable body".into(),
        );
        if self.random.random() {
            let event = self.told.last_mut().expect("it was told just now");
            event.body = event.body.slice(..event.body.len() / 2);
        }
    }

    fn hire_into(
        &mut self,
        organization: OrganizationRef,
        given: String,
        family: String,
        groups: BTreeSet<GroupRef>,
    ) -> PersonRef {
        let number = self.people.len();
        let email = self.new_address(organization, &given, &family);
        let title = self.pick(&TITLES);
        let badge = self.random.random_range(1..10_000);
        self.people.push(Person {
            id: format!("diruser_7{number:016}"),
            organization,
            dp_id: self.organizations[organization.0].provider.id_of(number as u64),
            email,
            given,
            family,
            title,
            badge,
            groups,
            status: Status::Active,
        });
        let person = PersonRef(number);
        self.tell_created(person, "is hired");
        person
    }

    fn leave_group(&mut self, person: PersonRef, group: GroupRef) {
        self.people[person.0].groups.remove(&group);
        let about = format!("is no more in {}", self.groups[group.0].name);
        self.tell_updated(person, true, None, &about);
    }

    fn present_members(&self, group: GroupRef) -> Vec<PersonRef> {
        let people = self.people.iter().enumerate();
        people
            .filter(|(_, person)| person.status != Status::Deleted && person.groups.contains(&group))
            .map(|(n, _)| PersonRef(n))
            .collect()
    }
}
