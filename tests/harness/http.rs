//! A small HTTP/1.1 client, and a way to send what no client would.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderMap;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Longer than any answer our servers may take: the door answers within 5 s, a slow body in 15 s.
const ANSWER: Duration = Duration::from_secs(30);

type Sender = SendRequest<Full<Bytes>>;
type Answer = hyper::Response<hyper::body::Incoming>;

/// One connection, kept alive between requests and made anew when it is gone. Not for two requests at
/// once: use one client per task.
pub struct Client {
    address: String,
    open: Option<(Sender, JoinHandle<()>)>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body).with_context(|| format!("no such JSON: {}", self.text()))
    }

    /// A header's value as text, where it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    /// A client of the server at `address` (`127.0.0.1:8080`); nothing is connected yet.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), open: None }
    }

    /// Asks for a path.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Response> {
        self.request(Method::GET, path, &[], Bytes::new()).await
    }

    /// Posts a body with these headers; `host` and `content-length` are added.
    pub async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> anyhow::Result<Response> {
        self.request(Method::POST, path, headers, body).await
    }

    /// Sends one request and reads the whole answer.
    ///
    /// A kept connection that the server closed meanwhile is replaced once: the server had no request then.
    ///
    /// # Errors
    ///
    /// No connection, a connection lost before the whole answer, or no answer in 30 s. Whether the server
    /// acted on the request is then unknown.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> anyhow::Result<Response> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        for (name, value) in headers {
            request = request.header(*name, value.as_str());
        }
        let request = request.body(Full::new(body))?;
        let answered = tokio::time::timeout(ANSWER, self.exchange(request)).await;
        match answered {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                self.open = None;
                Err(error)
            }
            Err(elapsed) => {
                self.open = None;
                Err(elapsed).context("no answer")
            }
        }
    }

    async fn exchange(&mut self, mut request: Request<Full<Bytes>>) -> anyhow::Result<Response> {
        if let Some((mut sender, driver)) = self.open.take() {
            match sender.try_send_request(request).await {
                Ok(answer) => return self.read(answer, sender, driver).await,
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        let (mut sender, driver) = connect(&self.address).await?;
        let answer = sender.send_request(request).await?;
        self.read(answer, sender, driver).await
    }

    async fn read(
        &mut self,
        answer: Answer,
        sender: Sender,
        driver: JoinHandle<()>,
    ) -> anyhow::Result<Response> {
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        self.open = Some((sender, driver));
        Ok(Response { status: head.status, headers: head.headers, body })
    }
}

async fn connect(address: &str) -> anyhow::Result<(Sender, JoinHandle<()>)> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its end shows as a closed sender.
    let driver = tokio::spawn(async {
        let _ = connection.await;
    });
    Ok((sender, driver))
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some((_, driver)) = self.open.take() {
            driver.abort();
        }
    }
}

/// Sends `request` byte for byte on a connection of its own, and gives every byte that comes back until the
/// server closes, or `within` has passed. Our side stays open for writing meanwhile.
pub async fn raw(address: &str, request: &[u8], within: Duration) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    // A server that refuses early may close while we still write; what it said is the answer.
    let _ = tokio::time::timeout(within, stream.write_all(request)).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let reading = async {
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..read]);
        }
    };
    let _ = tokio::time::timeout(within, reading).await;
    Ok(answer)
}
