//! Years at random.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::company::{Company, OrganizationRef, PersonRef};
use super::event::{SimEvent, Status};
use super::names::{FAMILY, GROUPS};

/// How often, of a hundred changes, each happens.
const WEIGHTS: [(u32, Change); 15] = [
    (11, Change::Hire),
    (20, Change::Place),
    (14, Change::Promote),
    (8, Change::Marry),
    (6, Change::Readdress),
    (1, Change::Swap),
    (9, Change::Deactivate),
    (7, Change::Reactivate),
    (7, Change::Leave),
    (6, Change::Rehire),
    (2, Change::FormGroup),
    (3, Change::RenameGroup),
    (2, Change::DissolveGroup),
    (3, Change::Mention),
    (1, Change::Organization),
];

#[derive(Debug, Clone, Copy)]
enum Change {
    Hire,
    Place,
    Promote,
    Marry,
    Readdress,
    Swap,
    Deactivate,
    Reactivate,
    Leave,
    Rehire,
    FormGroup,
    RenameGroup,
    DissolveGroup,
    Mention,
    Organization,
}

impl Company {
    /// Lives on until at least `events` events were told that no story has given yet (those of the founding
    /// included), and gives all of these, in the order they happened.
    pub fn story(&mut self, events: usize) -> Vec<SimEvent> {
        while self.told.len() - self.heard < events {
            self.live();
        }
        let fresh = self.told[self.heard..].to_vec();
        self.heard = self.told.len();
        fresh
    }

    fn live(&mut self) {
        let organization = OrganizationRef(self.random.random_range(0..self.organizations.len()));
        let chosen = WEIGHTS.choose_weighted(&mut self.random, |(weight, _)| *weight);
        let (_, change) = *chosen.expect("the weights are positive");
        match change {
            Change::Hire => drop(self.hire(organization)),
            Change::FormGroup => drop(self.form_group(organization)),
            Change::RenameGroup | Change::DissolveGroup => self.change_group(organization, change),
            Change::Mention => self.mention(organization),
            Change::Organization => self.change_organization(organization),
            _ => self.change_person(change),
        }
    }

    fn change_person(&mut self, change: Change) {
        let wanted = match change {
            Change::Reactivate => Status::Deactivated,
            Change::Rehire => Status::Deleted,
            _ => Status::Active,
        };
        // Nobody like that: something else happens instead.
        let Some(person) = self.somebody(wanted) else { return };
        match change {
            Change::Place => {
                let groups = self.some_groups(self.people[person.0].organization);
                self.place(person, &groups.into_iter().collect::<Vec<_>>());
            }
            Change::Promote => self.promote(person),
            Change::Marry => {
                let family = self.pick(&FAMILY);
                self.marry(person, &family);
            }
            Change::Readdress => self.readdress(person),
            Change::Swap => match self.somebody(Status::Active) {
                Some(other) if other != person => self.swap_addresses(person, other),
                _ => {}
            },
            Change::Deactivate => self.deactivate(person),
            Change::Reactivate => self.reactivate(person),
            Change::Leave => self.leave(person),
            _ => self.rehire(person),
        }
    }

    fn change_group(&mut self, organization: OrganizationRef, change: Change) {
        let groups = self.live_groups(organization);
        let Some(group) = groups.choose(&mut self.random).copied() else { return };
        match change {
            // A customer keeps two groups, so that there is somewhere to go.
            Change::DissolveGroup if groups.len() > 2 => self.dissolve_group(group),
            _ => {
                let name = format!("{} {}", self.pick(&GROUPS), self.events);
                self.rename_group(group, &name);
            }
        }
    }

    fn change_organization(&mut self, organization: OrganizationRef) {
        match self.random.random_range(0..4) {
            0 if self.organizations.len() > 1 => self.close(organization),
            1 => self.garble(organization),
            2 => {
                self.switch_directory(organization, false);
                self.switch_directory(organization, true);
            }
            _ => self.touch(organization),
        }
    }

    /// A few tries are enough where there are many such people.
    fn somebody(&mut self, status: Status) -> Option<PersonRef> {
        let count = self.people.len();
        let tries = (0..20).map(|_| PersonRef(self.random.random_range(0..count.max(1))));
        tries
            .collect::<Vec<_>>()
            .into_iter()
            .find(|n| self.people.get(n.0).is_some_and(|p| p.status == status))
    }
}
