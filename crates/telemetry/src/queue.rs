//! The way of a log line out of the process: a bounded queue and one thread that writes.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for a slow reader; some seconds of a busy log, and a few MiB.
const CAPACITY: usize = 8192;

/// Lines are written together up to about this many bytes.
const CHUNK: usize = 64 * 1024;

/// Rest after each writing. A busy process then writes many lines at a time, and hands most of them over without
/// waking anybody, which costs more than the line itself.
const REST: Duration = Duration::from_millis(5);

static OF_PROCESS: OnceLock<Arc<AtomicU64>> = OnceLock::new();

/// How many log lines of this process were dropped because nobody read them, or could not be written.
///
/// Zero before [`crate::Telemetry::start`]. Also there as the metric `rollcall_log_dropped_total`.
pub fn log_dropped() -> u64 {
    OF_PROCESS.get().map_or(0, |dropped| dropped.load(Ordering::Relaxed))
}

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Hands lines to the writing thread and never waits for it: when the queue is full a line is dropped and
/// counted. A request must not wait for whoever reads our logs.
#[derive(Clone)]
pub(crate) struct LogQueue {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl LogQueue {
    pub(crate) fn start(sink: impl Write + Send + 'static) -> std::io::Result<Self> {
        Self::with_capacity(sink, CAPACITY)
    }

    fn with_capacity(sink: impl Write + Send + 'static, capacity: usize) -> std::io::Result<Self> {
        let (lines, waiting) = mpsc::sync_channel(capacity);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer { sink, waiting, dropped: dropped.clone(), reported: 0 };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
        Ok(Self { lines, dropped })
    }

    /// Makes [`log_dropped`] speak of this queue. The first one stays.
    pub(crate) fn count_as_the_process(&self) {
        OF_PROCESS.get_or_init(|| self.dropped.clone());
    }

    /// Waits until every line handed over so far is written, at most `grace`.
    pub(crate) fn flush(&self, grace: Duration) {
        let (done, written) = mpsc::sync_channel(1);
        let lines = self.lines.clone();
        // A full queue makes the sender wait, and a stuck reader makes it wait for ever: not on this thread.
        std::thread::spawn(move || lines.send(Message::Flush(done)));
        written.recv_timeout(grace).ok();
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Takes one line; the formatter writes each with a single call.
pub(crate) struct Line<'a>(&'a LogQueue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if self.0.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Writer<W> {
    sink: W,
    waiting: Receiver<Message>,
    dropped: Arc<AtomicU64>,
    reported: u64,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        while let Ok(first) = self.waiting.recv() {
            let mut next = Some(first);
            let (mut chunk, mut lines) = (Vec::new(), 0);
            let mut flushed = Vec::new();
            while let Some(message) = next {
                match message {
                    Message::Line(line) => {
                        chunk.extend_from_slice(&line);
                        lines += 1;
                    }
                    Message::Flush(done) => flushed.push(done),
                }
                next = if chunk.len() < CHUNK { self.waiting.try_recv().ok() } else { None };
            }
            // A closed pipe or a full volume is no reason to stop: it may be replaced or emptied.
            if self.sink.write_all(&chunk).and_then(|()| self.sink.flush()).is_err() {
                self.dropped.fetch_add(lines, Ordering::Relaxed);
            } else if chunk.len() < CHUNK {
                self.report();
            }
            let awaited = !flushed.is_empty();
            for done in flushed {
                done.try_send(()).ok();
            }
            // A full chunk says that more is waiting already.
            if !awaited && chunk.len() < CHUNK {
                std::thread::sleep(REST);
            }
        }
    }

    /// Says how many lines are missing, once the reader has caught up.
    fn report(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.reported {
            let lines = dropped - self.reported;
            self.reported = dropped;
            tracing::warn!(lines, "log lines were dropped: their reader was too slow or away");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;

    /// A sink that writes only while somebody grants it, as a pipe does.
    struct Gate {
        open: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.open.recv().map_err(|_| std::io::ErrorKind::BrokenPipe)?;
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn gated(capacity: usize) -> (LogQueue, mpsc::Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (grant, open) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let queue = LogQueue::with_capacity(Gate { open, written: written.clone() }, capacity).unwrap();
        (queue, grant, written)
    }

    #[test]
    fn lines_arrive_in_order_and_flush_waits_for_them() {
        let (queue, grant, written) = gated(CAPACITY);
        for number in 0..1000 {
            writeln!(queue.make_writer(), "{number}").unwrap();
        }
        for _ in 0..2000 {
            grant.send(()).unwrap();
        }
        queue.flush(Duration::from_secs(10));
        let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
        assert_eq!(String::from_utf8(written.lock().unwrap().clone()).unwrap(), expected);
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_reader_that_stops_delays_nobody_and_lines_are_dropped_and_counted() {
        let (queue, _grant, _) = gated(16);
        let started = Instant::now();
        for _ in 0..100_000 {
            queue.make_writer().write_all(b"a line\n").unwrap();
        }
        queue.flush(Duration::from_millis(50));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        let dropped = queue.dropped.load(Ordering::Relaxed);
        // What is not dropped waits in the queue or in the chunk that the writer took before it got stuck.
        assert!((90_000..=100_000 - 16).contains(&dropped), "{dropped}");
    }

    #[test]
    fn a_reader_that_went_away_is_counted_and_the_next_lines_are_still_taken() {
        let (queue, grant, _) = gated(16);
        drop(grant);
        for number in 1..=3 {
            queue.make_writer().write_all(b"a line\n").unwrap();
            queue.flush(Duration::from_secs(10));
            assert_eq!(queue.dropped.load(Ordering::Relaxed), number);
        }
    }
}
