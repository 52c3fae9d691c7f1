//! The harness itself: what the other tests stand on.

use std::time::Duration;

use anyhow::ensure;
use rollcall_tests::postgres::Postgres;
use rollcall_tests::rabbitmq::Broker;

#[tokio::test]
async fn a_killed_broker_comes_back_with_its_ports_and_virtual_hosts() -> anyhow::Result<()> {
    let broker = Broker::start().await?;
    let url = broker.new_vhost().await?;
    let vhost = url.rsplit('/').next().unwrap().to_owned();
    let before = broker.pid()?;
    broker.kill9().await?;
    assert!(tokio::net::TcpStream::connect(broker.address()).await.is_err());
    broker.start_again().await?;
    assert_ne!(broker.pid()?, before);
    let vhosts = broker.rabbitmqctl(&["list_vhosts"]).await?;
    ensure!(vhosts.lines().any(|line| line == vhost), "{vhosts}");

    broker.freeze()?;
    assert!(tokio::time::timeout(Duration::from_secs(2), broker.eval("1.")).await.is_err());
    broker.thaw()?;
    assert_eq!(broker.eval("1 + 1.").await?, "2");
    let home = broker.home().to_owned();
    broker.stop_gently().await?;
    drop(broker);
    assert!(!home.exists());
    Ok(())
}

#[tokio::test]
async fn a_killed_database_server_comes_back_with_what_was_committed() -> anyhow::Result<()> {
    let postgres = Postgres::start().await?;
    let database = postgres.new_database().await?;
    postgres.psql(&database, "create table t (n int); insert into t values (7)").await?;
    postgres.kill9_postmaster().await?;
    postgres.start_again().await?;
    assert_eq!(postgres.psql(&database, "select n from t").await?, "7");
    postgres.restart_fast().await?;

    postgres.freeze()?;
    assert!(
        tokio::time::timeout(Duration::from_secs(1), postgres.psql(&database, "select 1")).await.is_err()
    );
    postgres.thaw()?;
    assert_eq!(postgres.psql(&database, "select n from t").await?, "7");
    Ok(())
}

#[tokio::test]
async fn attached_servers_can_be_used_and_not_stopped() -> anyhow::Result<()> {
    let postgres = Postgres::start().await?;
    let attached = Postgres::attach(&postgres.url())?;
    let first = attached.new_database().await?;
    assert_ne!(first, attached.new_database().await?);
    assert!(attached.kill9_postmaster().await.is_err());
    Ok(())
}
