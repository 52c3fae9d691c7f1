//! Orders in which a naive consumer goes wrong.

use anyhow::ensure;
use rand::seq::SliceRandom;

use super::super::telling::{Moment, NOON, Person, group, noon_and};
use super::super::{Fault, fault};
use crate::chaos::run::Run;
use crate::simulator::{Delivery, Plan, Provider, SimEvent, deliveries};

pub(super) fn faults() -> Vec<Fault> {
    vec![
        fault!("F36", "snapshots arrive long after the deletion they precede", stale),
        fault!("F37", "instants are equal, a nanosecond apart, or written in other ways", instants),
        fault!("F39", "people before their groups, deletions before creations", child_first),
        fault!("F40", "a deleted id comes back, and a new one takes over the address", born_again),
        fault!("F44", "directories are switched, organizations deleted and back, in any order", switched),
    ]
}

/// Each event once and in this order, waiting until all before it are committed.
async fn in_turn(run: &mut Run, events: &[SimEvent]) -> anyhow::Result<()> {
    for event in events {
        let sent = run.add(vec![event.clone()], &Plan::orderly());
        run.send(&sent).await;
        run.all_recorded().await?;
    }
    Ok(())
}

/// Every order of these, each for a person of its own, whose id is put in place of `PERSON`.
async fn in_every_order(
    run: &mut Run,
    what: &str,
    tell: impl Fn(&str) -> Vec<SimEvent>,
) -> anyhow::Result<()> {
    let count = tell("x").len();
    let mut sent = Vec::new();
    for (number, order) in orders(count).into_iter().enumerate() {
        let events = tell(&format!("diruser_6{what}{number:010}"));
        let turned = order.iter().map(|place| events[*place].clone()).collect();
        sent.push(run.add(turned, &Plan { seed: run.seed + number as u64, ..Plan::orderly() }));
    }
    // Side by side, so that batches hold several people; the order within one stays.
    for place in 0..count {
        let slice: Vec<Delivery> = sent.iter().map(|one| one[place].clone()).collect();
        run.send_fast(slice).await?;
        run.all_recorded().await?;
    }
    Ok(())
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let insert = |order: &Vec<usize>, place: usize| {
        let mut longer = order.clone();
        longer.insert(place, count - 1);
        longer
    };
    (0..count).flat_map(|place| shorter.iter().map(move |order| insert(order, place))).collect()
}

async fn stale(run: &mut Run) -> anyhow::Result<()> {
    let organization = run.company.found(Provider::Entra);
    let people: Vec<_> = (0..run.scaled(200, 30)).map(|_| run.company.hire(organization)).collect();
    for person in &people {
        run.company.promote(*person);
        run.company.marry(*person, "Late");
    }
    let mut late = run.news();
    for person in &people {
        run.company.leave(*person);
    }
    let first = run.news();
    run.send_fast(first).await?;
    run.all_recorded().await?;
    late.shuffle(&mut run.random);
    run.send_fast(late).await?;
    run.healed();
    run.all_recorded().await?;
    let ids = people
        .iter()
        .map(|person| format!("'{}'", run.company.id_of(*person)))
        .collect::<Vec<_>>()
        .join(", ");
    let ever = format!(
        "select count(*) from chaos_history where kind = 'users' and status = 'active' and id in ({ids})"
    );
    let ever = run.site.number(&ever).await?;
    ensure!(ever == 0, "{ever} writes show somebody active who was gone before we heard of them");
    run.note(format!("{} people gone first and told of afterwards, never active", people.len()));
    Ok(())
}

async fn instants(run: &mut Run) -> anyhow::Result<()> {
    let moment = |written: &str, after: i64| Moment { written: written.to_owned(), at: NOON + after };
    // 2016-12-31T23:59:60.5Z lies between the last second of that year and the first of the next.
    let leap = Moment { written: "2016-12-31T23:59:60.5Z".to_owned(), at: 1_483_228_799_999_999_999 };
    let cases: [(&str, [Moment; 3]); 6] = [
        ("01", [noon_and(0), noon_and(0), noon_and(0)]),
        ("02", [noon_and(0), noon_and(1), noon_and(2)]),
        ("03", [noon_and(2), noon_and(1), noon_and(0)]),
        (
            "04",
            [
                moment("2026-03-01T12:00:00.001Z", 1_000_000),
                moment("2026-03-01T12:00:00.001000Z", 1_000_000),
                moment("2026-03-01T12:00:00.000999999Z", 999_999),
            ],
        ),
        (
            "05",
            [
                moment("2026-03-01T17:30:00.000000001+05:30", 1),
                noon_and(0),
                moment("2026-03-01T07:00:00.000000002-05:00", 2),
            ],
        ),
        (
            "06",
            [
                leap,
                Moment {
                    written: "2016-12-31T23:59:59.999999999Z".to_owned(),
                    at: 1_483_228_799_999_999_998,
                },
                Moment { written: "2017-01-01T00:00:00Z".to_owned(), at: 1_483_228_800_000_000_000 },
            ],
        ),
    ];
    for (what, [one, two, three]) in &cases {
        in_every_order(run, what, |id| {
            let said = |email, active| Person { id, email, name: "N", groups: Some(&[]), active };
            vec![
                said("a@one.example", Some(true)).created(&format!("evt_{id}_a"), one),
                said("b@one.example", Some(false)).updated(&format!("evt_{id}_b"), two),
                said("c@one.example", Some(true)).updated(&format!("evt_{id}_c"), three),
            ]
        })
        .await?;
    }
    run.healed();
    Ok(())
}

async fn child_first(run: &mut Run) -> anyhow::Result<()> {
    in_every_order(run, "11", |id| {
        let crew = format!("dirgroup_of_{id}");
        let listed = [crew.as_str()];
        let said = Person { id, email: "p@one.example", name: "P", groups: Some(&listed), active: None };
        vec![
            said.created(&format!("evt_{id}_a"), &noon_and(10)),
            group(&crew, true, &format!("evt_{id}_b"), &noon_and(5)),
            group(&crew, false, &format!("evt_{id}_c"), &noon_and(20)),
            said.deleted(&format!("evt_{id}_d"), &noon_and(15)),
        ]
    })
    .await?;
    let said = Person { id: "diruser_6never", email: "n@one.example", name: "N", groups: None, active: None };
    in_turn(run, &[said.deleted("evt_never_b", &noon_and(1)), said.created("evt_never_a", &noon_and(0))])
        .await?;
    run.healed();
    Ok(())
}

async fn born_again(run: &mut Run) -> anyhow::Result<()> {
    in_every_order(run, "12", |id| {
        let (other, address) = (format!("{id}_new"), format!("{id}@one.example"));
        let old = Person { id, email: &address, name: "Old", groups: None, active: None };
        let new = Person { id: &other, email: &address, name: "New", groups: None, active: None };
        vec![
            old.created(&format!("evt_{id}_a"), &noon_and(0)),
            old.deleted(&format!("evt_{id}_b"), &noon_and(10)),
            new.created(&format!("evt_{id}_c"), &noon_and(20)),
            old.created(&format!("evt_{id}_d"), &noon_and(30)),
        ]
    })
    .await?;
    run.healed();
    Ok(())
}

async fn switched(run: &mut Run) -> anyhow::Result<()> {
    let mut organizations = Vec::new();
    for _ in 0..run.scaled(20, 4) {
        let organization = run.company.found(Provider::Entra);
        for _ in 0..5 {
            run.company.hire(organization);
        }
        organizations.push(organization);
    }
    for (number, organization) in organizations.into_iter().enumerate() {
        run.company.switch_directory(organization, false);
        run.company.hire(organization);
        run.company.close(organization);
        run.company.hire(organization);
        run.company.switch_directory(organization, true);
        if number % 2 == 0 {
            run.company.touch(organization);
        }
    }
    let told = run.tell(0);
    let count = told.len();
    for round in 0..3 {
        let plan =
            Plan { seed: run.seed + round, duplicates: 0.3, renumbered: 0.3, late: 1.0, window: count };
        run.send_fast(deliveries(&told, &plan)).await?;
    }
    run.healed();
    Ok(())
}
