//! The byte stream of one connection, watched: [`Guard`] stands between the socket and the HTTP library.
//!
//! It hands a request's head on only when the whole head is there and reads the same to everybody
//! (see [`crate::head`]), closes connections that are slow with a head, idle, or do not take their answer,
//! and lingers at the end so that an early answer is not lost in a connection reset.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::head::{self, Body, Malformed};

/// Longest head in bytes, request line included. The HTTP library answers 431 to more.
pub(crate) const LONGEST_HEAD: usize = 32 * 1024;

/// Bytes read from the socket at a time while a head is awaited.
const PIECE: usize = 4096;

/// What the library gets to read in place of a malformed head: it answers 400 to this and closes.
const POISON: &[u8] = b"\0\r\n\r\n";

/// How long we wait for a client that still sends to notice that we have closed.
const LINGER: Duration = Duration::from_secs(2);

/// How long one connection may take over things.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a head, from its first byte; for the first head, from the start of the connection.
    pub(crate) head: Duration,
    /// Between an answer and the next head.
    pub(crate) idle: Duration,
    /// For taking some bytes of an answer.
    pub(crate) write: Duration,
}

/// Why the guard refused a connection's last head, for the log line.
pub(crate) type Verdict = Arc<OnceLock<Malformed>>;

/// See the module. `S` is a plain or an encrypted stream.
pub(crate) struct Guard<S> {
    stream: S,
    patience: Patience,
    state: State,
    /// Read from the socket, not handed on yet.
    held: BytesMut,
    /// How much of `held` was searched for the end of the head.
    searched: usize,
    /// When to stop waiting for a head; armed while we wait.
    head_by: Option<Pin<Box<Sleep>>>,
    /// When to stop waiting for the client to take an answer, or to hang up.
    write_by: Option<Pin<Box<Sleep>>>,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Awaiting a complete head; `first` on this connection or a later one.
    Head { first: bool },
    /// Handing on so many bytes: a head and its body. Together where both are here, so that the library needs one
    /// buffer for them.
    Passing(u64),
    /// Handing on whatever comes: a head and its chunks, or a head so long that the library refuses it.
    Rest,
    /// Handing on [`POISON`].
    Poisoned,
    /// Handing on nothing more: the client hung up, or kept us waiting.
    Ended,
    /// Our half is closed; reading on and forgetting it.
    Lingering,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Watches `stream` from its first byte on.
    pub(crate) fn new(stream: S, patience: Patience) -> Self {
        let head_by = Some(Box::pin(sleep_until(Instant::now() + patience.head)));
        Self {
            stream,
            patience,
            state: State::Head { first: true },
            held: BytesMut::new(),
            searched: 0,
            head_by,
            write_by: None,
            verdict: Verdict::default(),
        }
    }

    /// Where the guard will note why it refused a head.
    pub(crate) fn verdict(&self) -> Verdict {
        Arc::clone(&self.verdict)
    }

    /// Looks at what is held, and reads on until there is a complete head, a reason to refuse it, or
    /// nothing to wait for. Says what to do next.
    fn poll_head(&mut self, cx: &mut Context<'_>, first: bool) -> Poll<io::Result<State>> {
        loop {
            match head::end(&self.held, self.searched) {
                Ok(Some(length)) => return Poll::Ready(Ok(self.judge(length))),
                Err(why) => return Poll::Ready(Ok(self.refuse(why))),
                Ok(None) if self.held.len() > LONGEST_HEAD => {
                    return Poll::Ready(Ok(State::Rest));
                }
                Ok(None) => self.searched = self.held.len(),
            }
            if self.poll_patience(cx, first).is_ready() {
                return Poll::Ready(Ok(State::Ended));
            }
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(State::Ended));
            }
            if self.held.is_empty() && !first {
                // Idle no longer: from its first byte on, a head has its own time.
                self.head_by = None;
            }
            self.held.extend_from_slice(read.filled());
        }
    }

    fn judge(&mut self, length: usize) -> State {
        match head::body(&self.held[..length]) {
            Ok(Body::Length(body)) => State::Passing((length as u64).saturating_add(body)),
            Ok(Body::Chunked) => State::Rest,
            Err(why) => self.refuse(why),
        }
    }

    fn refuse(&mut self, why: Malformed) -> State {
        // The first refusal ends the connection, so the cell cannot be full already.
        let _ = self.verdict.set(why);
        self.held = BytesMut::from(POISON);
        State::Poisoned
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.searched = 0;
        self.head_by = None;
    }

    /// Ready when a head has kept us waiting for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>, first: bool) -> Poll<()> {
        let patience = if self.held.is_empty() && !first { self.patience.idle } else { self.patience.head };
        let by = self.head_by.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        by.as_mut().poll(cx)
    }

    /// Hands on at most `limit` bytes, held ones first. `Ok(0)` is the end of the stream.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
        limit: u64,
    ) -> Poll<io::Result<usize>> {
        let room = out.remaining().min(usize::try_from(limit).unwrap_or(usize::MAX));
        if !self.held.is_empty() {
            let passed = room.min(self.held.len());
            out.put_slice(&self.held[..passed]);
            self.held.advance(passed);
            if self.held.is_empty() {
                // A connection that waits for its answer, or idles, holds no buffer for the next head.
                self.held = BytesMut::new();
            }
            return Poll::Ready(Ok(passed));
        }
        let mut part = ReadBuf::new(out.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let passed = part.filled().len();
        out.advance(passed);
        Poll::Ready(Ok(passed))
    }

    /// Ready with an error when the client has not taken anything for too long.
    fn poll_stalled<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.write_by = None;
            return wrote;
        }
        let patience = self.patience.write;
        let by = self.write_by.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        by.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether the client has said all it wanted to: closing now resets nothing.
    fn nothing_is_coming(&self) -> bool {
        let between_requests = matches!(self.state, State::Head { .. }) && self.held.is_empty();
        between_requests || (self.state == State::Ended && self.verdict.get().is_none())
    }

    /// Reads and forgets what the client still sends, until it hangs up or [`LINGER`] is over. Closing a
    /// socket with unread bytes sends a reset, which would overtake the answer.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let by = self.head_by.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + LINGER)));
        if by.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match this.state {
                State::Head { first } => {
                    let next = ready!(this.poll_head(cx, first))?;
                    this.enter(next);
                }
                State::Passing(0) => {
                    this.enter(State::Head { first: false });
                    // The library asks for bytes of this request only; those of the next one wait until
                    // it asks again, which it does after it has answered.
                }
                State::Passing(left) => {
                    let passed = ready!(this.poll_pass(cx, out, left))?;
                    this.state = match passed {
                        0 => State::Ended,
                        _ => State::Passing(left - passed as u64),
                    };
                    return Poll::Ready(Ok(()));
                }
                State::Rest => return this.poll_pass(cx, out, u64::MAX).map_ok(drop),
                State::Poisoned if this.held.is_empty() => this.enter(State::Ended),
                State::Poisoned => return this.poll_pass(cx, out, u64::MAX).map_ok(drop),
                State::Ended | State::Lingering => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.poll_stalled(cx, wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        this.poll_stalled(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.poll_stalled(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.state != State::Lingering {
            let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.poll_stalled(cx, shut))?;
            if this.nothing_is_coming() {
                return Poll::Ready(Ok(()));
            }
            this.enter(State::Lingering);
        }
        this.poll_linger(cx).map(Ok)
    }
}
