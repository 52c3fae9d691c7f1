//! A TCP link that can be cut, frozen, slowed and tripped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the one who connected to the server.
    ToServer,
    /// From the server to the one who connected.
    ToClient,
}

/// What happens when the bytes waited for go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// They go on, the answer to them does not come back.
    SwallowTheAnswer,
    /// They do not go on.
    SwallowThem,
}

#[derive(Debug, Clone)]
struct Trap {
    number: usize,
    pattern: Vec<u8>,
    direction: Direction,
    then: Then,
}

#[derive(Debug, Clone, Default)]
struct Rules {
    down: bool,
    /// How often everything was cut: a link that is restored at once would not be seen to be down.
    cuts: u64,
    frozen: Vec<Direction>,
    delay: Duration,
    bytes_per_second: Option<u64>,
    cut_after: Option<u64>,
    trap: Option<Trap>,
}

/// A link from a port of its own to a server.
pub struct Proxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// Traps sprung so far; a trap of a lower number has been sprung.
    sprung: AtomicUsize,
    opened: AtomicUsize,
}

impl Proxy {
    /// Opens a link to `target` (`127.0.0.1:5672`).
    pub async fn start(target: impl Into<String>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let rules = watch::Sender::new(Rules::default());
        let shared = Arc::new(Shared::default());
        let link = Link { target: target.into(), rules: rules.subscribe(), shared: Arc::clone(&shared) };
        let listener = tokio::spawn(link.serve(listener, address));
        Ok(Self { address, rules, shared, listener })
    }

    /// Where to connect instead of the server, as `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// A server's address with this link's host and port in place of the server's.
    ///
    /// # Errors
    ///
    /// `url` has no `scheme://` or names no port.
    pub fn url(&self, url: &str) -> anyhow::Result<String> {
        let (scheme, rest) = url.split_once("://").context("a URL has a scheme")?;
        let (authority, path) =
            rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
        let user = authority.rsplit_once('@').map(|(user, _)| format!("{user}@")).unwrap_or_default();
        let path = path.map(|path| format!("/{path}")).unwrap_or_default();
        Ok(format!("{scheme}://{user}{}{path}", self.address))
    }

    /// Resets every connection and refuses new ones.
    pub fn cut(&self) {
        self.rules.send_modify(|rules| {
            rules.down = true;
            rules.cuts += 1;
        });
    }

    /// Ends every fault: connections are taken again, what was frozen or slow flows on.
    pub fn restore(&self) {
        self.rules.send_modify(|rules| *rules = Rules { cuts: rules.cuts, ..Rules::default() });
    }

    /// Holds every byte both ways; connections stay, new ones are taken and stay silent.
    pub fn freeze(&self) {
        self.rules.send_modify(|rules| rules.frozen = vec![Direction::ToServer, Direction::ToClient]);
    }

    /// Holds every byte one way only.
    pub fn freeze_one_way(&self, direction: Direction) {
        self.rules.send_modify(|rules| rules.frozen = vec![direction]);
    }

    /// Lets every piece, each way, wait this long.
    pub fn delay(&self, delay: Duration) {
        self.rules.send_modify(|rules| rules.delay = delay);
    }

    /// Lets through so many bytes per second per connection and way.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.rules.send_modify(|rules| rules.bytes_per_second = Some(bytes_per_second.max(1)));
    }

    /// Resets each connection once so many bytes have gone through it one way.
    pub fn cut_after(&self, bytes: u64) {
        self.rules.send_modify(|rules| rules.cut_after = Some(bytes));
    }

    /// When `pattern` next goes by: lets it through, swallows the answer, resets the connection. Once.
    ///
    /// The sender then cannot know whether it was done: a `COMMIT` that took, a publish that was stored.
    pub fn cut_on(&self, pattern: &[u8], direction: Direction) {
        self.set_trap(pattern, direction, Then::SwallowTheAnswer);
    }

    /// When `pattern` next goes by: resets the connection instead of passing it on. Once.
    pub fn cut_before(&self, pattern: &[u8], direction: Direction) {
        self.set_trap(pattern, direction, Then::SwallowThem);
    }

    /// How often a pattern was met and its connection reset.
    pub fn sprung(&self) -> usize {
        self.shared.sprung.load(Ordering::SeqCst)
    }

    /// How many connections were ever taken.
    pub fn opened(&self) -> usize {
        self.shared.opened.load(Ordering::SeqCst)
    }

    fn set_trap(&self, pattern: &[u8], direction: Direction, then: Then) {
        let trap = Trap { number: self.sprung(), pattern: pattern.to_vec(), direction, then };
        self.rules.send_modify(|rules| rules.trap = Some(trap));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

#[derive(Clone)]
struct Link {
    target: String,
    rules: watch::Receiver<Rules>,
    shared: Arc<Shared>,
}

impl Link {
    async fn serve(mut self, first: TcpListener, address: SocketAddr) {
        let mut listener = Some(first);
        // Ends its connections when this task is aborted.
        let mut connections = JoinSet::new();
        loop {
            let down = self.rules.borrow_and_update().down;
            if down {
                // No listener: the kernel refuses.
                listener = None;
            } else if listener.is_none() {
                listener = TcpListener::bind(address).await.ok();
            }
            tokio::select! {
                changed = self.rules.changed() => if changed.is_err() { return },
                taken = accept(listener.as_ref()) => if let Ok(client) = taken {
                    self.shared.opened.fetch_add(1, Ordering::SeqCst);
                    let cuts = self.rules.borrow().cuts;
                    connections.spawn(self.clone().connect(client, cuts));
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Serves a connection that was taken after so many cuts.
    async fn connect(self, client: TcpStream, cuts: u64) {
        let Ok(server) = TcpStream::connect(&self.target).await else { return reset(&[&client]) };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (swallow, answered) = (watch::Sender::new(false), watch::Sender::new(false));
        let pump = |direction| Pump {
            link: self.clone(),
            direction,
            gone: 0,
            tail: Vec::new(),
            swallow: swallow.clone(),
            answered: answered.clone(),
        };
        let (mut there, mut back) = (pump(Direction::ToServer), pump(Direction::ToClient));
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let mut rules = self.rules.clone();
        let pumped = async {
            tokio::try_join!(
                there.run(&mut from_client, &mut to_server),
                back.run(&mut from_server, &mut to_client)
            )
        };
        let cut = tokio::select! {
            _ = rules.wait_for(|rules| rules.cuts > cuts) => true,
            ended = pumped => ended.is_err(),
        };
        if cut {
            reset(&[from_client.as_ref(), from_server.as_ref()]);
            // Dropped plainly they would say goodbye before the reset.
            to_client.forget();
            to_server.forget();
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// Makes the closing that follows a reset (RST) instead of a goodbye (FIN).
fn reset(streams: &[&TcpStream]) {
    for stream in streams {
        // A connection that is gone needs no reset.
        let _ = stream.set_zero_linger();
    }
}

/// One way of one connection.
struct Pump {
    link: Link,
    direction: Direction,
    gone: u64,
    /// The last bytes seen, so that a pattern split over two reads is met.
    tail: Vec<u8>,
    /// Set when what comes back is to be dropped.
    swallow: watch::Sender<bool>,
    /// Set when something was dropped so.
    answered: watch::Sender<bool>,
}

/// Any error means: reset both sides.
struct Cut;

impl From<io::Error> for Cut {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Pump {
    async fn run(&mut self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> Result<(), Cut> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(to.shutdown().await?);
            }
            if *self.swallow.borrow() {
                self.answered.send_replace(true);
                continue;
            }
            self.hold().await?;
            match self.trapped(&buffer[..read]) {
                None => self.forward(&buffer[..read], to).await?,
                Some(Then::SwallowThem) => return Err(Cut),
                Some(Then::SwallowTheAnswer) => {
                    self.swallow.send_replace(true);
                    to.write_all(&buffer[..read]).await?;
                    // The server must have acted before the reset reaches it; it may also say nothing.
                    let mut answered = self.answered.subscribe();
                    let _ = tokio::time::timeout(Duration::from_secs(2), answered.wait_for(|yes| *yes)).await;
                    return Err(Cut);
                }
            }
        }
    }

    /// Waits while frozen, then for the delay.
    async fn hold(&mut self) -> Result<(), Cut> {
        let direction = self.direction;
        let delay = {
            let flowing = self.link.rules.wait_for(|rules| !rules.frozen.contains(&direction)).await;
            flowing.map_err(|_| Cut)?.delay
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Ok(())
    }

    async fn forward(&mut self, bytes: &[u8], to: &mut OwnedWriteHalf) -> Result<(), Cut> {
        let cut_after = self.link.rules.borrow().cut_after;
        let left = cut_after.map_or(u64::MAX, |limit| limit.saturating_sub(self.gone));
        let allowed = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut rest = &bytes[..allowed];
        while !rest.is_empty() {
            // Asked for each piece: a link that is restored must not trickle on with what it had begun.
            let limit = self.link.rules.borrow().bytes_per_second;
            // Twenty pieces a second.
            let piece = limit.map_or(rest.len(), |limit| usize::try_from(limit / 20).unwrap_or(usize::MAX));
            let (piece, later) = rest.split_at(piece.clamp(1, rest.len()));
            to.write_all(piece).await?;
            if let Some(limit) = limit {
                tokio::time::sleep(Duration::from_secs_f64(piece.len() as f64 / limit as f64)).await;
            }
            rest = later;
        }
        self.gone += allowed as u64;
        if allowed < bytes.len() { Err(Cut) } else { Ok(()) }
    }

    fn trapped(&mut self, bytes: &[u8]) -> Option<Then> {
        let trap = self.link.rules.borrow().trap.clone().filter(|trap| trap.direction == self.direction)?;
        self.tail.extend_from_slice(bytes);
        let met = self.tail.windows(trap.pattern.len().max(1)).any(|window| window == trap.pattern);
        let keep = self.tail.len().min(trap.pattern.len().saturating_sub(1));
        self.tail.drain(..self.tail.len() - keep);
        let sprung = &self.link.shared.sprung;
        // Two connections may meet it at once; only one springs the trap.
        let springs = met
            && sprung
                .compare_exchange(trap.number, trap.number + 1, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok();
        springs.then_some(trap.then)
    }
}
