//! The harness itself: what the other tests stand on.

use std::time::Duration;

use anyhow::ensure;
use rollcall_tests::eventually;
use rollcall_tests::postgres::Postgres;
use rollcall_tests::proxy::{Direction, Proxy};
use rollcall_tests::rabbitmq::Broker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_killed_broker_comes_back_with_its_ports_and_virtual_hosts() -> anyhow::Result<()> {
    let broker = Broker::start().await?;
    let url = broker.new_vhost().await?;
    let vhost = url.rsplit('/').next().unwrap().to_owned();
    let before = broker.pid()?;
    broker.kill9().await?;
    assert!(TcpStream::connect(broker.address()).await.is_err());
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

/// A server that answers every line with itself.
async fn echo() -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    Ok(address)
}

async fn says(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_cut_link_resets_and_refuses_until_it_is_restored() -> anyhow::Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert_eq!(says(&mut stream, "one").await?, "one");
    proxy.cut();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    eventually(Duration::from_secs(5), async || {
        ensure!(TcpStream::connect(proxy.address()).await.is_err(), "it still takes connections");
        Ok(())
    })
    .await?;
    proxy.restore();
    let mut stream =
        eventually(Duration::from_secs(5), async || Ok(TcpStream::connect(proxy.address()).await?)).await?;
    assert_eq!(says(&mut stream, "two").await?, "two");
    Ok(())
}

#[tokio::test]
async fn a_link_that_is_restored_at_once_was_cut_all_the_same() -> anyhow::Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert_eq!(says(&mut stream, "one").await?, "one");
    proxy.cut();
    proxy.restore();
    let cut = tokio::time::timeout(Duration::from_secs(5), stream.read_u8()).await?;
    assert_eq!(cut.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    Ok(())
}

#[tokio::test]
async fn a_slow_link_is_fast_again_once_restored() -> anyhow::Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    proxy.throttle(1);
    stream.write_all(&[b'x'; 1000]).await?;
    let mut come = Vec::new();
    let slow = tokio::time::timeout(Duration::from_millis(300), all_of(&mut stream, &mut come)).await;
    assert!(slow.is_err(), "a thousand bytes came at one a second");
    proxy.restore();
    tokio::time::timeout(Duration::from_secs(10), all_of(&mut stream, &mut come)).await?
}

async fn all_of(stream: &mut TcpStream, come: &mut Vec<u8>) -> anyhow::Result<()> {
    while come.len() < 1000 {
        ensure!(stream.read_buf(come).await? > 0, "the link ended after {} bytes", come.len());
    }
    Ok(())
}

#[tokio::test]
async fn a_frozen_link_holds_bytes_and_lets_them_flow_once_restored() -> anyhow::Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    proxy.freeze_one_way(Direction::ToClient);
    assert!(tokio::time::timeout(Duration::from_millis(300), says(&mut stream, "held")).await.is_err());
    proxy.restore();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"held");
    Ok(())
}

#[tokio::test]
async fn a_trap_springs_once_and_decides_whether_the_server_saw_the_bytes() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let proxy = Proxy::start(listener.local_addr()?.to_string()).await?;
    for (seen, before) in [("..COMMIT", false), ("", true)] {
        match before {
            false => proxy.cut_on(b"COMMIT", Direction::ToServer),
            true => proxy.cut_before(b"COMMIT", Direction::ToServer),
        }
        let mut client = TcpStream::connect(proxy.address()).await?;
        let (mut server, _) = listener.accept().await?;
        // Split over two writes: the pattern is still met.
        client.write_all(b"..COM").await?;
        let mut got = [0; 8];
        server.read_exact(&mut got[..5]).await?;
        client.write_all(b"MIT").await?;
        if seen.is_empty() {
            assert!(server.read_exact(&mut got[5..]).await.is_err());
        } else {
            server.read_exact(&mut got[5..]).await?;
            assert_eq!(&got, seen.as_bytes());
            server.write_all(b"done").await?;
        }
        assert!(client.read_u8().await.is_err(), "the answer must not come back");
    }
    assert_eq!(proxy.sprung(), 2);
    let mut client = TcpStream::connect(proxy.address()).await?;
    let (mut server, _) = listener.accept().await?;
    client.write_all(b"COMMIT").await?;
    server.read_exact(&mut [0; 6]).await?;
    Ok(())
}

#[tokio::test]
async fn a_link_cut_after_some_bytes_passes_exactly_those() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let proxy = Proxy::start(listener.local_addr()?.to_string()).await?;
    proxy.cut_after(5);
    let mut client = TcpStream::connect(proxy.address()).await?;
    let (mut server, _) = listener.accept().await?;
    client.write_all(b"0123456789").await?;
    let mut got = [0; 5];
    server.read_exact(&mut got).await?;
    assert_eq!(&got, b"01234");
    assert!(server.read_u8().await.is_err());
    Ok(())
}

#[test]
fn a_link_takes_the_place_of_the_server_in_its_address() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let proxy = runtime.block_on(Proxy::start("127.0.0.1:1"))?;
    let at = proxy.address();
    assert_eq!(proxy.url("amqp://u:p@127.0.0.1:5672/v")?, format!("amqp://u:p@{at}/v"));
    assert_eq!(proxy.url("postgres://u@localhost:5432/d?x=1")?, format!("postgres://u@{at}/d?x=1"));
    assert_eq!(proxy.url("http://127.0.0.1:80")?, format!("http://{at}"));
    Ok(())
}
