//! The simulator's own promises: its truth is what its company looks like, whatever order it is told in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall_event::{Change, DirectoryEvent, UserStatus};
use rollcall_tests::TestBed;
use rollcall_tests::simulator::{Company, Fact, Plan, Status, deliveries, history, truth};

#[test]
fn the_same_seed_tells_the_same_bytes() {
    let bodies =
        |seed| -> Vec<_> { Company::new(seed, 40).story(500).into_iter().map(|event| event.body).collect() };
    assert_eq!(bodies(7), bodies(7));
    assert_ne!(bodies(7), bodies(8));
}

#[test]
fn a_story_has_every_kind_of_change_and_time_only_goes_forward() {
    let story = Company::new(3, 100).story(5_000);
    assert!(story.len() >= 5_000);
    assert!(story.windows(2).all(|pair| pair[0].at < pair[1].at));
    let ids: BTreeSet<_> = story.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), story.len());
    let kinds: BTreeSet<_> = story.iter().map(|event| event.kind.as_str()).collect();
    for kind in [
        "organization.directory.user_created",
        "organization.directory.user_updated",
        "organization.directory.user_deleted",
        "organization.directory.group_created",
        "organization.directory.group_updated",
        "organization.directory.group_deleted",
        "organization.directory_enabled",
        "organization.directory_disabled",
        "organization.created",
        "organization.updated",
        "organization.deleted",
        "role.updated",
    ] {
        assert!(kinds.contains(kind), "no {kind}");
    }
    assert!(story.iter().any(|event| event.fact == Fact::Unreadable));
}

#[test]
fn the_truth_is_what_the_company_looks_like() {
    for seed in 0..5 {
        let mut company = Company::new(seed, 120);
        company.story(3_000);
        assert_eq!(company.truth(), company.look(), "seed {seed}");
    }
}

#[test]
fn the_truth_does_not_depend_on_order_or_repetition() {
    for seed in 0..20 {
        let mut events = history(seed, 6, 120);
        let expected = truth(&events);
        events.extend_from_within(..40);
        let mut by_hash = events.clone();
        by_hash.sort_by(|one, other| one.body.cmp(&other.body));
        assert_eq!(truth(&by_hash), expected, "seed {seed}");
        events.reverse();
        assert_eq!(truth(&events), expected, "seed {seed}");
    }
}

#[test]
fn a_rough_way_loses_nothing_and_repeats_and_reorders() {
    let story = Company::new(1, 30).story(1_000);
    let arrived = deliveries(&story, &Plan::rough(9));
    let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
    for delivery in &arrived {
        *copies.entry(delivery.event_id.as_str()).or_default() += 1;
    }
    assert_eq!(copies.len(), story.len());
    assert!((1_200..1_450).contains(&arrived.len()), "{}", arrived.len());
    assert!(arrived.windows(2).filter(|pair| pair[0].event_id > pair[1].event_id).count() > 200);
    let messages: BTreeSet<_> = arrived.iter().map(|delivery| &delivery.id).collect();
    assert!(messages.len() < arrived.len() && messages.len() > story.len());
    assert_eq!(deliveries(&story, &Plan::orderly()).len(), story.len());
}

/// The simulator writes its facts and its bodies apart; here the product's reader checks one by the other.
#[test]
fn bodies_say_what_their_facts_say() {
    let story = Company::new(5, 210).story(4_000).into_iter();
    for event in story.chain((0..5).flat_map(|seed| history(seed, 8, 300))) {
        let parsed = DirectoryEvent::parse(&event.body);
        let Fact::Person { id, organization, profile, groups, status, parting_email } = &event.fact else {
            assert_eq!(parsed.is_err(), event.fact == Fact::Unreadable, "{}", event.about);
            continue;
        };
        let parsed = parsed.unwrap();
        assert_eq!(parsed.occurred_at.unwrap().time().timestamp_nanos_opt(), Some(event.at));
        let Change::User(_, user) = parsed.change else { panic!("{} is about a person", event.kind) };
        assert_eq!((user.id.as_str(), user.organization_id.as_str()), (id.as_str(), organization.as_str()));
        assert_eq!(user.profile.map(|profile| (profile.email, profile.name)), *profile, "{}", event.about);
        let listed = user.groups.map(|groups| groups.iter().map(|group| group.as_str().to_owned()).collect());
        assert_eq!(listed, *groups, "{}", event.about);
        let expected = status.map(|status| match status {
            Status::Active => UserStatus::Active,
            Status::Deactivated => UserStatus::Deactivated,
            Status::Deleted => UserStatus::Deleted { email: parting_email.clone() },
        });
        assert_eq!(user.status, expected, "{}", event.about);
    }
}

/// A year of a company and a history no directory would write, over a rough way, through both real binaries.
async fn ends_in_the_truth(bed: &TestBed) -> anyhow::Result<()> {
    let mut company = Company::new(21, 60);
    let mut events = company.story(600);
    events.extend(history(4, 12, 300));
    let report = bed.sender().deliver_all(&deliveries(&events, &Plan::rough(5)), 8).await?;
    assert!(report.given_up.is_empty(), "{:?}", report.answers);
    bed.becomes(&truth(&events), Duration::from_secs(90)).await
}

#[tokio::test]
async fn a_rough_story_ends_in_the_senders_truth_on_the_embedded_default() -> anyhow::Result<()> {
    ends_in_the_truth(&TestBed::start().await?).await
}

#[tokio::test]
async fn a_rough_story_ends_in_the_senders_truth_on_rabbitmq_and_postgresql() -> anyhow::Result<()> {
    ends_in_the_truth(&TestBed::start_full().await?).await
}
