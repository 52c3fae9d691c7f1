//! What both backends promise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::ensure;
use rollcall_event::{ReasonCode, RoutingKey};
use rollcall_queue::{ConsumedQueue, Fate, PublishError, Settlement, depths};
use rollcall_tests::eventually;

use super::bed::*;

pub(super) async fn what_was_published_comes_out_byte_for_byte_and_in_order(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    let odd: [&[u8]; 5] = [b"", b"\0\xff\xfe", b"{\"a\": 1.0}", "ä\u{1f600}\r\n".as_bytes(), &[7; 1 << 20]];
    let mut sent = Vec::new();
    for (number, body) in odd.into_iter().enumerate() {
        let mut envelope = envelope(&format!("msg_ä {number}"), "");
        envelope.body = bytes::Bytes::copy_from_slice(body);
        envelope.attempt = u32::try_from(number)? + 1;
        envelope.first_error = (number > 2).then(|| "first\u{1b}[31m".to_owned());
        envelope.last_error = (number > 2).then(|| "last ä".to_owned());
        envelope.traceparent =
            (number > 0).then(|| "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        let key = RoutingKey::parse(&format!("event.type_{number}.{}", "x".repeat(190))).unwrap();
        publisher.publish(&key, &envelope).await?;
        sent.push((key, envelope));
    }
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher).await?;
    let mut received = Vec::new();
    while received.len() < sent.len() {
        received.extend(receive(&mut consumer, 64).await?);
    }
    for (message, (key, envelope)) in received.iter().zip(&sent) {
        assert_eq!(message.routing_key, key.as_str());
        assert_eq!(message.envelope.as_ref().unwrap(), envelope);
        assert_eq!((message.deliveries, &message.dead), (0, &None));
    }
    Ok(())
}

pub(super) async fn an_accepted_message_outlives_its_publisher(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["a", "b"]).await?;
    publisher.close(SOON).await;
    drop(publisher);
    let mut consumer = bed.consumer(EVENTS).await?;
    assert_eq!(receive_all(&mut consumer, 2).await?, ["a", "b"]);
    Ok(())
}

pub(super) async fn each_lane_gets_its_own_messages(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["hired"]).await?;
    publish(&publisher, &revoke_key(), &["left"]).await?;
    publish(&publisher, &RoutingKey::for_body(b"{"), &["unreadable"]).await?;
    let mut events = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    let mut revocations = bed.consumer_with(REVOCATIONS, 64, publisher).await?;
    assert_eq!(receive_all(&mut revocations, 1).await?, ["left"]);
    assert_eq!(receive_all(&mut events, 2).await?, ["hired", "unreadable"]);
    Ok(())
}

pub(super) async fn a_batch_is_no_larger_than_asked_for(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["1", "2", "3", "4", "5"]).await?;
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher).await?;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 5 {
        let batch = receive(&mut consumer, 2).await?;
        sizes.push(batch.len());
        settle(&mut consumer, batch, &Settlement::Done).await?;
    }
    assert_eq!(sizes, [2, 2, 1]);
    bed.drained(EVENTS).await
}

pub(super) async fn a_failed_attempt_returns_to_its_own_lane_and_is_counted(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    for (queue, key) in [(EVENTS, event_key()), (REVOCATIONS, revoke_key())] {
        publish(&publisher, &key, &["a"]).await?;
        let mut consumer = bed.consumer_with(queue, 64, publisher.clone()).await?;
        for (attempt, error, step) in [(1, "first", 50), (2, "second", 150)] {
            let message = receive_one(&mut consumer).await?;
            assert_eq!(message.envelope.as_ref().unwrap().attempt, attempt);
            let settled = settle(&mut consumer, vec![message], &retry(error)).await?;
            assert_eq!(settled.fates, [Fate::Retried { step: Duration::from_millis(step) }]);
        }
        let message = receive_one(&mut consumer).await?;
        assert_eq!((message.routing_key.as_str(), message.deliveries), (key.as_str(), 0));
        let envelope = message.envelope.as_ref().unwrap();
        assert_eq!(envelope.attempt, 3);
        assert_eq!(envelope.first_error.as_deref(), Some("first"));
        assert_eq!(envelope.last_error.as_deref(), Some("second"));
        settle(&mut consumer, vec![message], &Settlement::Done).await?;
        bed.drained(queue).await?;
    }
    Ok(())
}

pub(super) async fn a_message_whose_steps_are_used_up_is_dead(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["a"]).await?;
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    let mut fates = Vec::new();
    for attempt in 1..=3 {
        let message = receive_one(&mut consumer).await?;
        fates.extend(settle(&mut consumer, vec![message], &retry(&format!("error {attempt}"))).await?.fates);
    }
    assert_eq!(fates[2], Fate::Dead { reason: ReasonCode::RetriesExhausted });
    let mut graveyard = bed.consumer_with(ConsumedQueue::Dead, 64, publisher).await?;
    let dead = receive_one(&mut graveyard).await?;
    let info = dead.dead.as_ref().unwrap();
    assert_eq!((info.reason, info.error.as_str()), (ReasonCode::RetriesExhausted, "error 3"));
    assert_eq!(info.routing_key, event_key().as_str());
    let envelope = dead.envelope.as_ref().unwrap();
    assert_eq!((envelope.attempt, envelope.first_error.as_deref()), (3, Some("error 1")));
    settle(&mut graveyard, vec![dead], &Settlement::Done).await?;
    bed.drained(ConsumedQueue::Dead).await
}

pub(super) async fn a_dead_letter_keeps_its_reason_key_and_bytes(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    let sent = envelope("a", "\u{0}not json");
    publisher.publish(&revoke_key(), &sent).await?;
    let mut consumer = bed.consumer_with(REVOCATIONS, 64, publisher.clone()).await?;
    let message = receive_one(&mut consumer).await?;
    let verdict = Settlement::Dead { reason: ReasonCode::ParseError, error: "line 1".into() };
    let settled = settle(&mut consumer, vec![message], &verdict).await?;
    assert_eq!(settled.fates, [Fate::Dead { reason: ReasonCode::ParseError }]);
    let mut graveyard = bed.consumer_with(ConsumedQueue::Dead, 64, publisher).await?;
    // Handed back, it stays what it was.
    for _ in 0..2 {
        let dead = receive_one(&mut graveyard).await?;
        assert_eq!((dead.routing_key.as_str(), dead.deliveries), ("dead.parse_error", 0));
        let info = dead.dead.as_ref().unwrap();
        assert_eq!((info.reason, info.error.as_str()), (ReasonCode::ParseError, "line 1"));
        assert_eq!(info.routing_key, revoke_key().as_str());
        let envelope = dead.envelope.as_ref().unwrap();
        assert_eq!((&envelope.body, envelope.attempt), (&sent.body, 1));
        settle(&mut graveyard, vec![dead], &Settlement::Return).await?;
    }
    Ok(())
}

pub(super) async fn a_settled_message_never_comes_again(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["a", "b", "c", "d"]).await?;
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    let mut batch = Vec::new();
    while batch.len() < 4 {
        batch.extend(receive(&mut consumer, 4).await?);
    }
    // One by one and out of order: an acknowledgement of several must not reach the open one.
    let open = batch.remove(1);
    batch.reverse();
    for message in batch {
        settle(&mut consumer, vec![message], &Settlement::Done).await?;
    }
    drop(consumer);
    let mut next = bed.consumer_with(EVENTS, 64, publisher).await?;
    let again = receive_one(&mut next).await?;
    assert_eq!((id(&again), again.deliveries), (id(&open), 1));
    settle(&mut next, vec![again], &Settlement::Done).await?;
    bed.drained(EVENTS).await
}

pub(super) async fn what_is_handed_back_counts_nothing(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["a", "b", "c", "d", "e"]).await?;
    // More often than the delivery limit.
    for _ in 0..6 {
        let mut consumer = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
        let batch = receive(&mut consumer, 2).await?;
        for message in &batch {
            assert_eq!((message.deliveries, message.envelope.as_ref().unwrap().attempt), (0, 1));
        }
        let settled = settle(&mut consumer, batch, &Settlement::Return).await?;
        assert!(settled.fates.iter().all(|fate| *fate == Fate::Returned), "{settled:?}");
        consumer.close(SOON).await;
    }
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher).await?;
    let ids: BTreeSet<String> = receive_all(&mut consumer, 5).await?.into_iter().collect();
    assert_eq!(ids.len(), 5);
    bed.drained(EVENTS).await
}

pub(super) async fn a_cancelled_receive_loses_nothing(bed: &Bed) -> anyhow::Result<()> {
    const ALL: usize = 60;
    let publisher = bed.publisher().await?;
    let mut consumer = bed.consumer_with(EVENTS, 16, publisher.clone()).await?;
    let publishing = tokio::spawn(async move {
        for number in 0..ALL {
            publisher.publish(&event_key(), &envelope(&number.to_string(), "")).await?;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        anyhow::Ok(())
    });
    let mut seen = BTreeSet::new();
    let collecting = async {
        let mut cut = 0;
        while seen.len() < ALL {
            cut = (cut + 1) % 9;
            let receiving = consumer.receive(8, LINGER);
            let Ok(batch) = tokio::time::timeout(Duration::from_millis(cut), receiving).await else {
                continue;
            };
            for message in batch? {
                ensure!(message.deliveries == 0 && seen.insert(id(&message)), "{message:?}");
                consumer.settle(vec![(message, Settlement::Done)]).await?;
            }
        }
        anyhow::Ok(())
    };
    let collected = tokio::time::timeout(SOON, collecting).await;
    publishing.await??;
    ensure!(matches!(collected, Ok(Ok(()))), "{collected:?} with {} of {ALL}", seen.len());
    bed.drained(EVENTS).await
}

pub(super) async fn two_consumers_never_hold_the_same_message(bed: &Bed) -> anyhow::Result<()> {
    const ALL: usize = 300;
    let publisher = bed.publisher().await?;
    let publishes = (0..ALL).map(|number| {
        let publisher = publisher.clone();
        tokio::spawn(async move { publisher.publish(&event_key(), &envelope(&number.to_string(), "")).await })
    });
    for published in publishes.collect::<Vec<_>>() {
        published.await??;
    }
    let (seen, mut seen_out) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let mut consumer = bed.consumer(EVENTS).await?;
        let seen = seen.clone();
        tasks.spawn(async move {
            loop {
                let batch = consumer.receive(7, LINGER).await?;
                batch.iter().for_each(|message| drop(seen.send(id(message))));
                consumer
                    .settle(batch.into_iter().map(|message| (message, Settlement::Done)).collect())
                    .await?;
            }
            #[expect(unreachable_code, reason = "names the error type")]
            anyhow::Ok(())
        });
    }
    let mut counts = BTreeMap::<String, u32>::new();
    while counts.len() < ALL {
        let id = tokio::time::timeout(SOON, seen_out.recv()).await?.unwrap();
        *counts.entry(id).or_default() += 1;
    }
    bed.drained(EVENTS).await?;
    assert!(counts.values().all(|count| *count == 1) && seen_out.try_recv().is_err(), "{counts:?}");
    Ok(())
}

pub(super) async fn a_message_of_another_consumer_is_left_alone(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["a", "b", "c"]).await?;
    let mut first = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    let mut stale = Vec::new();
    while stale.len() < 3 {
        stale.extend(receive(&mut first, 3).await?);
    }
    drop(first);
    let mut second = bed.consumer_with(EVENTS, 64, publisher).await?;
    let held = receive_one(&mut second).await?;
    let settlements = [Settlement::Done, retry("late"), Settlement::Return];
    let settled = second.settle(stale.into_iter().zip(settlements).collect()).await?;
    assert_eq!(settled.fates, [Fate::ComesAgain; 3]);
    let settled = settle(&mut second, vec![held], &Settlement::Done).await?;
    assert_eq!(settled.fates, [Fate::Done]);
    for _ in 0..2 {
        let again = receive_one(&mut second).await?;
        assert_eq!((again.deliveries, again.envelope.as_ref().unwrap().attempt), (1, 1));
        settle(&mut second, vec![again], &Settlement::Done).await?;
    }
    bed.drained(EVENTS).await
}

pub(super) async fn a_closed_publisher_takes_nothing(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    let clone = publisher.clone();
    publish(&publisher, &event_key(), &["a"]).await?;
    publisher.close(SOON).await;
    publisher.close(SOON).await;
    for publisher in [publisher, clone] {
        let refused = publisher.publish(&event_key(), &envelope("b", "")).await;
        assert!(matches!(refused, Err(PublishError::Closed)), "{refused:?}");
        assert!(!publisher.health().is_ready() && !publisher.probe().await.is_ready());
    }
    assert_eq!(bed.depth(EVENTS).await?.ready, 1);
    Ok(())
}

pub(super) async fn a_key_without_a_queue_is_refused(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    let refused = publisher.publish_raw_key("nobody.listens", &envelope("a", "")).await;
    assert!(matches!(refused, Err(PublishError::Unroutable)), "{refused:?}");
    publish(&publisher, &event_key(), &["b"]).await?;
    assert!(publisher.health().is_ready());
    Ok(())
}

pub(super) async fn every_queue_is_counted(bed: &Bed) -> anyhow::Result<()> {
    let bed = bed.with(|options| options.retry_steps = vec![Duration::from_secs(600)]);
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["a", "b", "c"]).await?;
    publish(&publisher, &revoke_key(), &["d"]).await?;
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher).await?;
    let batch = receive(&mut consumer, 1).await?;
    settle(&mut consumer, batch, &retry("e")).await?;
    let batch = receive(&mut consumer, 1).await?;
    let verdict = Settlement::Dead { reason: ReasonCode::TooDeep, error: "e".into() };
    settle(&mut consumer, batch, &verdict).await?;
    consumer.close(SOON).await;
    let expected = [
        ("rollcall.revocations", 1),
        ("rollcall.events", 1),
        ("rollcall.bulk", 0),
        ("rollcall.dead", 1),
        ("rollcall.retry.10m", 1),
    ];
    eventually(SOON, async || {
        let counted = depths(&bed.url, &bed.options).await?;
        let counts: Vec<_> = counted.iter().map(|depth| (depth.queue.as_str(), depth.ready)).collect();
        ensure!(counts == expected, "{counts:?}");
        Ok(())
    })
    .await
}

pub(super) async fn a_publisher_that_works_is_ready(bed: &Bed) -> anyhow::Result<()> {
    let publisher = bed.publisher().await?;
    assert!(publisher.health().is_ready(), "{:?}", publisher.health());
    // A canary first, then a recent confirm.
    assert!(publisher.probe().await.is_ready(), "{:?}", publisher.probe().await);
    publish(&publisher, &event_key(), &["a"]).await?;
    assert!(publisher.probe().await.is_ready());
    assert_eq!(bed.depth(EVENTS).await?.ready, 1);
    Ok(())
}
