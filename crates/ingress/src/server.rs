//! Accepting connections and serving HTTP/1.1 on them, bounded in number and time.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::door::Door;
use crate::guard::{Guard, LONGEST_HEAD, Patience};
use crate::origin::Peer;
use crate::tls::Tls;

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Most bytes of a connection the HTTP library reads at a time; it needs room for a whole head.
const BUFFER: usize = LONGEST_HEAD + 8 * 1024;

/// Rest after an `accept` that failed, which happens when the process is out of file descriptors.
const BREATHER: Duration = Duration::from_millis(100);

/// An address and what is served there.
pub(crate) struct Site {
    pub(crate) listener: TcpListener,
    pub(crate) router: Router,
    pub(crate) tls: Option<Arc<Tls>>,
    /// Further connections wait in the kernel until one of these ends.
    pub(crate) most_connections: usize,
    pub(crate) patience: Patience,
    /// Who is told of malformed requests, if they may be deliveries.
    pub(crate) door: Option<Arc<Door>>,
}

/// What a connection needs of its site.
struct Shared {
    router: Router,
    tls: Option<Arc<Tls>>,
    patience: Patience,
    door: Option<Arc<Door>>,
    /// Finish what was asked, take nothing more.
    stop: CancellationToken,
    /// Finish now.
    cut: CancellationToken,
}

/// Serves until `stop`, then lets open requests finish for at most `grace`.
pub(crate) async fn serve(site: Site, stop: CancellationToken, grace: Duration) {
    let Site { listener, router, tls, most_connections, patience, door } = site;
    let cut = CancellationToken::new();
    let shared = Arc::new(Shared { router, tls, patience, door, stop: stop.clone(), cut: cut.clone() });
    let connections = TaskTracker::new();
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept(&listener, most_connections, &shared, &connections) => {}
    }
    // From here on the kernel refuses new connections, and another process may take the address.
    drop(listener);
    connections.close();
    if timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections that did not finish in time");
        cut.cancel();
        connections.wait().await;
    }
}

async fn accept(listener: &TcpListener, most: usize, shared: &Arc<Shared>, connections: &TaskTracker) {
    let slots = Arc::new(Semaphore::new(most));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, address)) => {
                connections.spawn(connection(stream, address, Arc::clone(shared), slot));
            }
            // The client was quicker to hang up than we to answer.
            Err(error) if is_about_the_client(&error) => {}
            Err(error) => {
                tracing::error!("cannot accept connections: {error}");
                tokio::time::sleep(BREATHER).await;
            }
        }
    }
}

fn is_about_the_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    shared: Arc<Shared>,
    _slot: OwnedSemaphorePermit,
) {
    // Answers are small: without this they would wait for the client's acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let serving = async {
        let Some(tls) = &shared.tls else { return speak(stream, address, false, &shared).await };
        // Boxed, both: a plain connection's task need not have room for an encrypted one.
        let handshake = Box::pin(TlsAcceptor::from(tls.config()).accept(stream));
        match timeout(HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => Box::pin(speak(stream, address, true, &shared)).await,
            Ok(Err(error)) => {
                tracing::debug!(client.address = %address.ip(), "TLS handshake failed: {error}")
            }
            Err(_) => tracing::debug!(client.address = %address.ip(), "TLS handshake took too long"),
        }
    };
    tokio::select! {
        () = serving => {}
        () = shared.cut.cancelled() => {}
    }
}

/// Serves one request after another until either side has had enough.
async fn speak<S>(stream: S, address: SocketAddr, encrypted: bool, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let guard = Guard::new(stream, shared.patience);
    let verdict = guard.verdict();
    let peer = Peer { address, encrypted };
    let service = service_fn(|request| answer(shared.router.clone(), peer, request));
    let mut connection = pin!(http().serve_connection(TokioIo::new(guard), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    let Err(error) = result else { return };
    if error.is_parse() {
        let why = verdict.get().map_or_else(|| error.to_string(), ToString::to_string);
        if let Some(door) = &shared.door {
            door.tell_malformed(address.ip().to_canonical(), &why);
        }
    } else {
        tracing::debug!(client.address = %address.ip(), "connection ended: {error}");
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.max_headers(100)
        .max_header_size(LONGEST_HEAD)
        .max_buf_size(BUFFER)
        // The guard measures the time of heads, and of idleness apart from it.
        .header_read_timeout(None)
        // A client that has sent its request may close its half; what was published is answered still.
        .half_close(true);
    http
}

async fn answer(
    router: Router,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    // The guard does not follow chunks to their end, so nothing may come after them on this connection.
    let is_last = request.headers().contains_key(header::TRANSFER_ENCODING);
    request.extensions_mut().insert(peer);
    let mut response = router.oneshot(request.map(Body::new)).await?;
    if is_last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}
