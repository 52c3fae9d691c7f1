//! What only a broker can show.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rollcall_event::RoutingKey;
use rollcall_queue::{
    ConsumedQueue, Fate, Health, LOG_DIRECTIVES, PublishError, Publisher, QueueError, Settlement, declare,
};
use rollcall_tests::rabbitmq::Broker;
use rollcall_tests::{eventually, shared};
use tracing_subscriber::EnvFilter;

use super::bed::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_every_verdict_is_that_of_its_own_message() -> anyhow::Result<()> {
    const CALLERS: usize = 64;
    const EACH: usize = 60;
    let bed = Bed::rabbitmq().await?;
    let publisher = bed.publisher().await?;
    let callers = (0..CALLERS).map(|caller| {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            let mut accepted = Vec::new();
            for number in 0..EACH {
                let id = format!("{caller}-{number}");
                let unroutable = (caller + number) % 10 == 0;
                let key = if unroutable { "nobody.listens" } else { "event.organization" };
                match publisher.publish_raw_key(key, &envelope(&id, "")).await {
                    Ok(()) if !unroutable => accepted.push(id),
                    Err(PublishError::Unroutable) if unroutable => {}
                    other => panic!("{id} by {key}: {other:?}"),
                }
            }
            accepted
        })
    });
    let mut accepted = BTreeSet::new();
    for caller in callers.collect::<Vec<_>>() {
        accepted.extend(caller.await?);
    }
    assert_eq!(accepted.len(), CALLERS * EACH * 9 / 10);
    let mut consumer = bed.consumer_with(EVENTS, 256, publisher).await?;
    let stored: BTreeSet<String> = receive_all(&mut consumer, accepted.len()).await?.into_iter().collect();
    assert_eq!(stored, accepted);
    bed.drained(EVENTS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_arguments_are_a_conflict_that_names_the_queue() -> anyhow::Result<()> {
    let bed = Bed::rabbitmq().await?;
    declare(&bed.url, &bed.options).await?;
    declare(&bed.url, &bed.options).await?;
    let other = bed.with(|options| options.delivery_limit += 1);
    for refused in [
        declare(&other.url, &other.options).await.err(),
        Publisher::start(&other.url, &other.options).await.err(),
    ] {
        let error = refused.context("it was declared")?;
        ensure!(error.to_string().contains("rollcall."), "{error}");
        ensure!(matches!(error, QueueError::Conflict { .. }) && !error.is_transient(), "{error:?}");
    }
    // Other retry steps are other queues.
    declare(&bed.url, &bed.with(|options| options.retry_steps.clear()).options).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_and_says_so() -> anyhow::Result<()> {
    let bed = Bed::rabbitmq().await?;
    let publisher = bed.publisher().await?;
    let vhost = bed.vhost();
    let broker = shared::broker().await?;
    let policy = r#"{"max-length":3}"#;
    broker.rabbitmqctl(&["-p", &vhost, "set_policy", "full", "^rollcall.events$", policy]).await?;
    let refused =
        eventually(SOON, async || match publisher.publish(&event_key(), &envelope("a", "")).await {
            Err(error) => Ok(error),
            Ok(()) => anyhow::bail!("there is room"),
        })
        .await?;
    assert!(matches!(refused, PublishError::Refused), "{refused:?}");
    let Health::NotReady(cause) = publisher.probe().await else { panic!("ready") };
    assert!(cause.contains("full"), "{cause}");
    // The other lane goes on.
    publish(&publisher, &revoke_key(), &["b"]).await?;
    // Room again, and it goes on by itself.
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    receive_all(&mut consumer, 3).await?;
    eventually(SOON, async || Ok(publisher.publish(&event_key(), &envelope("a", "")).await?)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_costs_no_time_and_no_message() -> anyhow::Result<()> {
    let broker = Broker::start().await?;
    let bed = Bed::at(&broker.new_vhost().await?)?;
    let publisher = bed.publisher().await?;
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    publish(&publisher, &event_key(), &["before", "retried"]).await?;
    let batch = receive(&mut consumer, 1).await?;
    // In flight while it dies.
    let flying = (0..100).map(|number| {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            let id = format!("flying {number}");
            let started = Instant::now();
            let published = publisher.publish(&event_key(), &envelope(&id, "")).await;
            (id, published, started.elapsed())
        })
    });
    let flying: Vec<_> = flying.collect();
    broker.kill9().await?;
    let mut accepted = BTreeSet::from(["before".to_owned(), "retried".to_owned()]);
    for flight in flying {
        let (id, published, took) = flight.await?;
        ensure!(took < Duration::from_secs(6), "{id} took {took:?}");
        accepted.extend(published.is_ok().then_some(id));
    }
    eventually(SOON, async || {
        ensure!(!publisher.health().is_ready(), "still ready");
        Ok(())
    })
    .await?;
    let started = Instant::now();
    let refused = publisher.publish(&event_key(), &envelope("x", "")).await;
    assert!(matches!(refused, Err(PublishError::Disconnected(_))), "{refused:?}");
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    assert!(!publisher.probe().await.is_ready());
    let settled = settle(&mut consumer, batch, &retry("the broker is away")).await?;
    assert_eq!(settled.fates, [Fate::ComesAgain]);
    // Both start while it is away.
    let early = bed.publisher().await?;
    assert!(!early.health().is_ready());
    let _never_opened = bed.consumer_with(REVOCATIONS, 64, early.clone()).await?;

    broker.start_again().await?;
    let back = Instant::now();
    for publisher in [&publisher, &early] {
        eventually(SOON, async || {
            ensure!(publisher.probe().await.is_ready(), "{:?}", publisher.health());
            Ok(())
        })
        .await?;
    }
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    publish(&publisher, &event_key(), &["after"]).await?;
    accepted.insert("after".to_owned());
    let mut seen = BTreeSet::new();
    while !accepted.is_subset(&seen) {
        let Ok(batch) = tokio::time::timeout(SOON, consumer.receive(64, LINGER)).await? else { continue };
        seen.extend(batch.iter().map(id));
        settle(&mut consumer, batch, &Settlement::Done).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_short_of_memory_blocks_publishers_only() -> anyhow::Result<()> {
    let broker = Broker::start().await?;
    let whole = Bed::at(&broker.new_vhost().await?)?;
    let bed = whole.with(|options| options.confirm_timeout = Duration::from_secs(2));
    let publisher = bed.publisher().await?;
    publish(&publisher, &event_key(), &["a", "b", "c"]).await?;
    let mut consumer = bed.consumer_with(EVENTS, 64, publisher.clone()).await?;
    broker.rabbitmqctl(&["set_vm_memory_high_watermark", "0.000001"]).await?;
    let started = Instant::now();
    eventually(SOON, async || {
        let started = Instant::now();
        let Err(error) = publisher.publish(&event_key(), &envelope("d", "")).await else {
            anyhow::bail!("it was stored")
        };
        ensure!(matches!(error, PublishError::Blocked(_) | PublishError::TimedOut), "{error:?}");
        ensure!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        Ok(())
    })
    .await?;
    assert!(started.elapsed() < Duration::from_secs(10));
    let again = Instant::now();
    let refused = publisher.publish(&event_key(), &envelope("d", "")).await;
    assert!(matches!(refused, Err(PublishError::Blocked(_))), "{refused:?}");
    assert!(again.elapsed() < Duration::from_millis(500), "{:?}", again.elapsed());
    let Health::NotReady(cause) = publisher.probe().await else { panic!("ready") };
    assert!(cause.contains("block"), "{cause}");

    // The worker goes on: what is done with is acknowledged, a retry is kept until it can be stored.
    let mut batch = Vec::new();
    while batch.len() < 3 {
        batch.extend(receive(&mut consumer, 3).await?);
    }
    let failed = batch.pop().context("three messages")?;
    let last = id(&failed);
    let settled = settle(&mut consumer, batch, &Settlement::Done).await?;
    assert_eq!(settled.fates, [Fate::Done; 2]);
    let settled = settle(&mut consumer, vec![failed], &retry("blocked")).await?;
    assert_eq!(settled.fates, [Fate::Kept]);

    broker.rabbitmqctl(&["set_vm_memory_high_watermark", "0.9"]).await?;
    // By itself, and without having been handed out a second time meanwhile.
    loop {
        let message = receive_one(&mut consumer).await?;
        if id(&message) == last {
            assert_eq!((message.envelope.as_ref().unwrap().attempt, message.deliveries), (2, 0));
            break;
        }
        settle(&mut consumer, vec![message], &Settlement::Done).await?;
    }
    publish(&publisher, &event_key(), &["e"]).await?;
    assert!(publisher.probe().await.is_ready());
    frozen(&broker, &bed).await
}

/// A broker that answers nothing: callers beyond the window and its line are told at once.
async fn frozen(broker: &Broker, bed: &Bed) -> anyhow::Result<()> {
    let bed = bed.with(|options| options.window = 4);
    let publisher = bed.publisher().await?;
    broker.freeze()?;
    let started = Instant::now();
    let publishes = (0..60).map(|number| {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            let published = publisher.publish(&event_key(), &envelope(&number.to_string(), "")).await;
            (published, started.elapsed())
        })
    });
    let (mut busy, mut late) = (0, 0);
    for publish in publishes.collect::<Vec<_>>() {
        match publish.await? {
            (Err(PublishError::Busy), after) if after < Duration::from_millis(500) => busy += 1,
            (Err(PublishError::TimedOut), after) if after < Duration::from_secs(3) => late += 1,
            other => panic!("{other:?}"),
        }
    }
    broker.thaw()?;
    assert!(busy >= 30 && late >= 16, "{busy} busy, {late} late");
    eventually(SOON, async || Ok(publisher.publish(&event_key(), &envelope("a", "")).await?)).await?;
    Ok(())
}

/// A log that can be read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_returned_body_is_never_logged() -> anyhow::Result<()> {
    let bed = Bed::rabbitmq().await?;
    let log = Log::default();
    let writer = log.clone();
    let filter = EnvFilter::new(format!("info,{LOG_DIRECTIVES}"));
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone()).finish();
    // One thread, so that the owner task logs here, too.
    let _logging = tracing_subscriber::util::SubscriberInitExt::set_default(subscriber);
    let publisher = bed.publisher().await?;
    let refused = publisher.publish_raw_key("nobody.listens", &envelope("a", "ada@example.com")).await;
    assert!(matches!(refused, Err(PublishError::Unroutable)), "{refused:?}");
    eventually(SOON, async || {
        let logged = String::from_utf8(log.0.lock().unwrap().clone())?;
        ensure!(!logged.contains("ada@") && !logged.contains("97, 100, 97"), "{logged}");
        ensure!(logged.contains("declaring"), "nothing was logged: {logged}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_not_ours_is_foreign_and_dies_with_its_bytes() -> anyhow::Result<()> {
    let bed = Bed::rabbitmq().await?;
    declare(&bed.url, &bed.options).await?;
    let publish = r#"
        Content = rabbit_basic:build_content(rabbit_basic:properties([]), <<"strange">>),
        Exchange = rabbit_misc:r(<<"VHOST">>, exchange, <<"rollcall">>),
        Message = element(2, rabbit_basic:message(Exchange, <<"event.strange">>, Content)),
        rabbit_basic:publish(rabbit_basic:delivery(false, false, Message, undefined))."#;
    shared::broker().await?.eval(&publish.replace("VHOST", &bed.vhost())).await?;
    let mut consumer = bed.consumer(EVENTS).await?;
    let foreign = receive_one(&mut consumer).await?;
    let why = foreign.envelope.as_ref().unwrap_err();
    assert_eq!((why.body.as_ref(), foreign.routing_key.as_str()), (b"strange".as_slice(), "event.strange"));
    settle(&mut consumer, vec![foreign], &retry("cannot be read")).await?;
    let mut graveyard = bed.consumer(ConsumedQueue::Dead).await?;
    let dead = receive_one(&mut graveyard).await?;
    let info = dead.dead.as_ref().unwrap();
    assert_eq!(RoutingKey::dead(info.reason).as_str(), "dead.foreign_message");
    assert_eq!((info.routing_key.as_str(), dead.body().as_ref()), ("event.strange", b"strange".as_slice()));
    Ok(())
}
