//! A short company story in which everything happens once that can happen to an event.

use chrono::TimeDelta;
use rollcall_tests::simulator::{Company, Delivery, Provider, SimEvent};

/// One scene.
pub(super) struct Scene {
    /// What happens, for the viewer.
    pub(super) caption: String,
    pub(super) acts: Vec<Act>,
}

/// What is done in a scene.
pub(super) enum Act {
    /// One delivery.
    Send(Letter),
    /// The door goes away while this is sent, and comes back.
    SendToClosedDoor(Letter),
    /// The worker is stopped.
    StopWorker,
    /// The worker is started again.
    StartWorker,
}

/// A delivery and what it is about.
pub(super) struct Letter {
    pub(super) delivery: Delivery,
    /// For the viewer.
    pub(super) about: String,
    /// What the people are to be after it; nothing new for a repetition.
    pub(super) event: Option<SimEvent>,
}

impl Letter {
    fn of(event: SimEvent) -> Self {
        let delivery = Delivery::of(&event, message_id(&event));
        Self { delivery, about: event.about.clone(), event: Some(event) }
    }

    fn without_news(delivery: Delivery, about: &str) -> Self {
        Self { delivery, about: about.to_owned(), event: None }
    }
}

/// Writes scenes from what a company tells.
struct Script {
    company: Company,
    read: usize,
    scenes: Vec<Scene>,
}

impl Script {
    /// What was told since the last scene.
    fn fresh(&mut self) -> Vec<SimEvent> {
        let fresh = self.company.told()[self.read..].to_vec();
        self.read = self.company.told().len();
        fresh
    }

    fn scene(&mut self, caption: &str) {
        let acts = self.fresh().into_iter().map(send).collect();
        self.add(caption, acts);
    }

    fn add(&mut self, caption: &str, acts: Vec<Act>) {
        self.scenes.push(Scene { caption: caption.to_owned(), acts });
    }
}

fn send(event: SimEvent) -> Act {
    Act::Send(Letter::of(event))
}

fn message_id(event: &SimEvent) -> String {
    event.id.replacen("evt_", "msg_", 1)
}

/// The scenes, and the company as it is after them.
pub(super) fn scenes() -> (Vec<Scene>, Company) {
    let beginning = rollcall_event::clock::now() - TimeDelta::hours(2);
    let mut script = Script { company: Company::empty(11, beginning), read: 0, scenes: Vec::new() };
    let (northwind, halden) =
        (script.company.found(Provider::JumpCloud), script.company.found(Provider::Entra));
    script.scene("Two customers switch their directories on");
    let named = ["Finance", "Engineering", "Support"];
    let [finance, engineering, support] = named.map(|name| script.company.form_group_named(northwind, name));
    let sales = script.company.form_group_named(halden, "Sales");
    script.scene("Their groups");
    let ada = script.company.hire_named(northwind, ("Ada", "Okafor"), &[finance]);
    let bao = script.company.hire_named(northwind, ("Bao", "Nakamura"), &[finance, support]);
    let carmen = script.company.hire_named(northwind, ("Carmen", "Silva"), &[engineering]);
    script.scene("The first people are hired");
    let dana = script.company.hire_named(northwind, ("Dana", "O'Brien"), &[engineering, support]);
    let elif = script.company.hire_named(halden, ("Elif", "Yılmaz"), &[sales]);
    let goran = script.company.hire_named(halden, ("Goran", "Petrov"), &[sales]);
    script.scene("Three more, two of them at another customer");

    again(&mut script);
    script.company.place(carmen, &[finance, engineering]);
    script.scene("Carmen joins Finance too: the event brings her whole set of groups");
    late(&mut script, |company| company.promote(ada), |company| company.place(ada, &[finance, support]));
    garbled(&mut script);
    script.company.mention(northwind);
    script.scene("A type that is only recorded");

    script.company.leave(bao);
    script.scene("Bao leaves: access ends");
    late(&mut script, |company| company.promote(dana), |company| company.leave(dana));
    script.company.deactivate(elif);
    script.scene("Elif is switched off; her provider says so only as the text \"False\"");

    script.company.rename_group(finance, "Finance EMEA");
    script.scene("A group is renamed");
    script.company.dissolve_group(support);
    script.scene("A group is dissolved; its members are told of one by one");
    worker_away(&mut script, |company| {
        company.marry(carmen, "Silva-Weber");
        company.swap_addresses(ada, carmen);
        company.leave(goran);
    });
    script.company.rehire(bao);
    script.company.reactivate(elif);
    script.scene("Bao is hired again, Elif switched on");
    door_away(&mut script, |company| company.place(elif, &[]));
    script.company.hire_named(halden, ("Hana", "Müller"), &[sales]);
    script.scene("And Hana begins");
    (script.scenes, script.company)
}

/// The last event once more: the same delivery, then the same body under another message id.
fn again(script: &mut Script) {
    let Some(event) = script.company.told().last().cloned() else { return };
    let once_more = Delivery::of(&event, message_id(&event));
    let renumbered = Delivery::of(&event, format!("{}b", message_id(&event)));
    let acts = vec![
        Act::Send(Letter::without_news(once_more, "the same delivery once more")),
        Act::Send(Letter::without_news(renumbered, "the same body under another message id")),
    ];
    script.add("The sender repeats itself: two duplicates", acts);
}

/// Two changes of one person, the older delivered last.
fn late(script: &mut Script, older: impl FnOnce(&mut Company), newer: impl FnOnce(&mut Company)) {
    older(&mut script.company);
    newer(&mut script.company);
    let mut events = script.fresh();
    events.reverse();
    let caption = match events.first() {
        Some(event) => format!("{}; an older event about the same person comes after it", event.about),
        None => String::new(),
    };
    script.add(&caption, events.into_iter().map(send).collect());
}

fn garbled(script: &mut Script) {
    let body = r#"{"spec_version":"1","id":"evt_cut_off","type":"organization.directory.user_upd"#;
    let letter = Letter::without_news(Delivery::raw("msg_cut_off", body), "a body cut off in the middle");
    script.add(
        "A signed body that nobody can read: a dead letter, kept with its reason",
        vec![Act::Send(letter)],
    );
}

fn worker_away(script: &mut Script, changes: impl FnOnce(&mut Company)) {
    changes(&mut script.company);
    let mut acts = vec![Act::StopWorker];
    acts.extend(script.fresh().into_iter().map(send));
    acts.push(Act::StartWorker);
    script.add("The worker is stopped; the door still takes everything, and nothing is lost", acts);
}

fn door_away(script: &mut Script, change: impl FnOnce(&mut Company)) {
    change(&mut script.company);
    let acts = script.fresh().into_iter().map(|event| Act::SendToClosedDoor(Letter::of(event))).collect();
    script.add("The door is restarted; the sender tries again until it is taken", acts);
}
