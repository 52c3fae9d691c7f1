//! Messages given up on: one open dead letter per body, found again, settled once, revived byte for byte.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use rollcall_event::{DeliveryId, Envelope, ReasonCode, RoutingKey, Source};
use rollcall_store::{Decision, Filter, NewDeadLetter, Settled};

use super::bed::Bed;
use super::on_both;
use super::said::Said;

fn noon() -> DateTime<Utc> {
    "2026-09-02T12:00:00.123456Z".parse().expect("a time")
}

fn decision() -> Decision<'static> {
    Decision { actor: "op", reason: "looked at it", at: noon() }
}

fn letter(body: impl Into<Bytes>, reason: ReasonCode, error: &str) -> NewDeadLetter {
    let body = body.into();
    let delivery = DeliveryId::parse("msg_1").expect("an id");
    let routing_key = RoutingKey::for_body(&body);
    let mut envelope = Envelope::new(Source::Scalekit, delivery, noon(), body).failed("first").failed(error);
    envelope.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    NewDeadLetter { envelope, routing_key, reason, error: error.to_owned() }
}

fn unreadable(n: usize) -> NewDeadLetter {
    letter(format!("{{ {n}"), ReasonCode::ParseError, &format!("line 1 column {n}"))
}

async fn open(bed: &Bed) -> anyhow::Result<usize> {
    Ok(bed.store.dead_letters(&Filter::default(), 1_000).await?.len())
}

on_both! {
    async fn one_body_dead_twice_is_one_question(bed: Bed) {
        let mut again = unreadable(1);
        again.envelope.delivery_id = DeliveryId::parse("msg_other")?;
        bed.store.bury(&[unreadable(1), again.clone(), unreadable(2)], noon()).await?;
        bed.store.bury(&[again], noon()).await?;
        assert_eq!(open(&bed).await?, 2);
        bed.store.bury(&[], noon()).await?;
        Ok(())
    }

    /// A server plans a statement anew after its fifth use: the sixth must find the same index.
    async fn the_hundredth_dead_letter_is_buried_like_the_first(bed: Bed) {
        for n in 0..100 {
            bed.store.bury(&[unreadable(n), unreadable(n)], noon()).await?;
        }
        assert_eq!(open(&bed).await?, 100);
        Ok(())
    }

    async fn a_body_that_dies_again_after_it_was_settled_is_a_new_question(bed: Bed) {
        bed.store.bury(&[unreadable(1)], noon()).await?;
        let id = bed.store.dead_letters(&Filter::default(), 9).await?[0].id;
        assert!(bed.store.settle_dead_letter(id, Settled::Replayed, &decision()).await?);
        assert!(!bed.store.settle_dead_letter(id, Settled::Discarded, &decision()).await?);
        assert!(!bed.store.settle_dead_letter(id + 100, Settled::Discarded, &decision()).await?);
        assert_eq!(open(&bed).await?, 0);

        bed.store.bury(&[unreadable(1)], noon()).await?;
        assert_eq!(open(&bed).await?, 1);
        let all = Filter { status: Some("any".to_owned()), ..Filter::default() };
        let all = bed.store.dead_letters(&all, 9).await?;
        let statuses: Vec<&str> = all.iter().map(|letter| letter.status.as_str()).collect();
        assert_eq!(statuses, ["replayed", "open"]);
        assert_eq!(all[0].settled_at, Some(noon()));
        assert_eq!(all[0].settled_reason.as_deref(), Some("looked at it"));
        let actions = bed.texts("SELECT actor, action, target, reason FROM actions", 4).await?;
        let action = ["op", "dead_letter.replayed", &id.to_string(), "looked at it"];
        assert_eq!(actions, [action.map(|it| Some(it.to_owned()))]);
        Ok(())
    }

    async fn a_dead_letter_says_why_and_comes_back_byte_for_byte(bed: Bed) {
        let readable = Said::created("ada", 1).body();
        let odd = Bytes::from_static(b"\xff\xfe\x00{\"id\":\"\xc3\x28\"}\r\n ");
        bed.store
            .bury(
                &[
                    letter(readable.clone(), ReasonCode::RetriesExhausted, "the last error"),
                    letter(odd.clone(), ReasonCode::ParseError, "is not UTF-8"),
                ],
                noon(),
            )
            .await?;
        let found = bed.store.dead_letters(&Filter::default(), 9).await?;
        let first = &found[0];
        assert_eq!((first.reason_code.as_str(), first.attempts), ("retries_exhausted", 3));
        assert_eq!((first.first_error.as_deref(), first.last_error.as_str()), (Some("first"), "the last error"));
        assert_eq!(first.kind.as_deref(), Some("organization.directory.user_created"));
        assert_eq!(first.organization_id.as_deref(), Some("org_1"));
        assert_eq!(first.event_id.as_deref(), Some("evt_directory.user_created_ada_1"));
        assert_eq!((first.body_bytes, first.received_at), (readable.len(), noon()));
        assert_eq!((found[1].kind.as_deref(), found[1].event_id.as_deref()), (None, None));

        for (letter, body) in found.iter().zip([readable, odd]) {
            let (envelope, key) = bed.store.dead_envelope(letter.id).await?.expect("it is there");
            assert_eq!(envelope.body, body);
            assert_eq!(key, RoutingKey::for_body(&body));
            // A replay starts anew.
            assert_eq!((envelope.attempt, envelope.first_error.as_deref()), (1, None));
            assert_eq!((envelope.delivery_id.as_str(), envelope.received_at), ("msg_1", noon()));
            assert!(envelope.traceparent.is_some());
        }
        assert!(bed.store.dead_envelope(1_000).await?.is_none());
        Ok(())
    }

    async fn filters_find_what_they_say(bed: Bed) {
        let poison = |user: &str, org: &str| Said::created(user, 1).of(org).body();
        let minute = |minutes| noon() + TimeDelta::minutes(minutes);
        let refused = ReasonCode::RefusedByDatabase;
        bed.store.bury(&[letter(poison("ada", "org_a"), refused, "value 17")], minute(0)).await?;
        bed.store.bury(&[letter(poison("bob", "org_b"), refused, "value 18")], minute(1)).await?;
        let future = Said::deleted("eve", 1).of("org_b").body();
        bed.store.bury(&[letter(future, ReasonCode::OccurredAtInFuture, "2099")], minute(2)).await?;
        bed.store.bury(&[unreadable(1)], minute(3)).await?;

        let all = bed.store.dead_letters(&Filter::default(), 9).await?;
        let ids: Vec<i64> = all.iter().map(|letter| letter.id).collect();
        let some = |text: &str| Some(text.to_owned());
        let none = Filter::default;
        let cases: [(Filter, &[usize]); 11] = [
            (none(), &[0, 1, 2, 3]),
            (Filter { ids: vec![ids[3], ids[0]], ..none() }, &[0, 3]),
            (Filter { kind: some("organization.directory.user_deleted"), ..none() }, &[2]),
            (Filter { organization_id: some("org_b"), ..none() }, &[1, 2]),
            (Filter { reason_code: some("refused_by_database"), ..none() }, &[0, 1]),
            (Filter { reason_code: some("refused_by_database"), organization_id: some("org_b"), ..none() }, &[1]),
            (Filter { fingerprint: Some(all[0].fingerprint.clone()), ..none() }, &[0, 1]),
            (Filter { since: Some(minute(1)), until: Some(minute(3)), ..none() }, &[1, 2]),
            (Filter { since: Some(minute(1) + TimeDelta::microseconds(1)), ..none() }, &[2, 3]),
            (Filter { after: ids[1], ..none() }, &[2, 3]),
            (Filter { status: some("discarded"), ..none() }, &[]),
        ];
        for (filter, expected) in cases {
            let found = bed.store.dead_letters(&filter, 9).await?;
            let found: Vec<i64> = found.iter().map(|letter| letter.id).collect();
            let expected: Vec<i64> = expected.iter().map(|at| ids[*at]).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
        assert_eq!(bed.store.dead_letters(&Filter::default(), 2).await?.len(), 2);
        Ok(())
    }

    async fn dead_letters_that_died_alike_are_one_group(bed: Bed) {
        for n in 0..5 {
            bed.store.bury(&[unreadable(n)], noon() + TimeDelta::seconds(n as i64)).await?;
        }
        bed.store.bury(&[letter("[", ReasonCode::InvalidField, "data is no object")], noon()).await?;
        let groups = bed.store.dead_letter_groups().await?;
        let counts: Vec<_> = groups.iter().map(|group| (group.reason_code.as_str(), group.count)).collect();
        assert_eq!(counts, [("parse_error", 5), ("invalid_field", 1)]);
        assert_eq!((groups[0].first_died_at, groups[0].last_died_at), (noon(), noon() + TimeDelta::seconds(4)));
        assert!(groups[0].example_error.starts_with("line 1 column"));

        let mut counts = bed.store.dead_letter_counts().await?;
        counts.sort();
        assert_eq!(counts, [("invalid_field".to_owned(), 1), ("parse_error".to_owned(), 5)]);
        for letter in bed.store.dead_letters(&Filter::default(), 9).await? {
            bed.store.settle_dead_letter(letter.id, Settled::Discarded, &decision()).await?;
        }
        assert_eq!(bed.store.dead_letter_groups().await?, Vec::new());
        assert_eq!(bed.store.dead_letter_counts().await?, Vec::new());
        Ok(())
    }
}
