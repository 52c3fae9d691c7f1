//! One connection, made and ended by hand: lapin's automatic recovery stays off, because confirms in flight
//! would hang for as long as the broker is away.

use std::future::Future;
use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, DefaultConnectionBuilder};
use tokio::time::timeout;

use super::ANSWER;
use crate::{InvalidQueueUrl, Options, QueueError};

/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(3);

/// Seconds between heartbeats; two missed ones end the connection.
const HEARTBEAT: u16 = 10;

/// Longest frame in bytes, where the URL asks for none. lapin keeps two buffers of 32 frames for each connection: with the
/// broker's 128 KiB, 8 MiB that most messages have no use for.
const FRAME_MAX: u32 = 32 * 1024;

/// Connects once, within [`CONNECTING`]. `name` is what the broker's tools show.
pub(super) async fn connect(url: &str, options: &Options, name: &str) -> Result<Connection, QueueError> {
    let mut uri: AMQPUri = url.parse().map_err(|_| InvalidQueueUrl)?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    uri.query.frame_max.get_or_insert(FRAME_MAX);
    uri.query.connection_timeout.get_or_insert(3000);
    if uri.vhost.is_empty() {
        // "amqp://host/" means the default virtual host to everybody but the letter of the specification.
        uri.vhost = "/".to_owned();
    }
    let tls = OwnedTLSConfig { identity: None, cert_chain: options.ca_certificate.clone() };
    let builder = DefaultConnectionBuilder::new()?
        .with_uri(uri)
        .with_properties(ConnectionProperties::default().with_connection_name(name.into()))
        .with_tls_config(tls);
    timeout(CONNECTING, builder.connect())
        .await
        .map_err(|_| QueueError::TimedOut("connect"))?
        .map_err(Into::into)
}

/// Waits for an answer of the broker, for [`ANSWER`] at most.
pub(super) async fn answered<T>(
    what: &'static str,
    call: impl Future<Output = lapin::Result<T>>,
) -> Result<T, QueueError> {
    timeout(ANSWER, call).await.map_err(|_| QueueError::TimedOut(what))?.map_err(Into::into)
}

/// Ends a connection. It may be half dead: whatever goes wrong no longer matters to anybody.
pub(super) async fn close(connection: &Connection) {
    let closed = timeout(Duration::from_secs(1), connection.close(200, "OK".into())).await;
    if let Ok(Err(error)) = closed {
        tracing::debug!(error = %error, "closing a connection to the broker");
    }
}
