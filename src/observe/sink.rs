//! A writer of lines to a destination that may be slow, full or gone.
//!
//! Lines are put into a buffer and written by a thread of their own, so that a slow disk or a stopped reader never
//! holds up a call. When the buffer is full, lines are dropped and counted.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The input of a writer of lines. It is cheap to clone; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub(super) struct LineSink {
    shared: Arc<SinkState>,
    writer: Thread,
}

/// The state that a sink shares with its writer.
#[derive(Debug, Default)]
struct SinkState {
    waiting: Mutex<PendingLines>,
    dropped: AtomicU64,
}

/// Lines that wait to be written.
#[derive(Debug, Default)]
struct PendingLines {
    lines: Vec<u8>,
    /// Whether something is being written that is not among the lines any more.
    writes: bool,
}

impl LineSink {
    /// Starts the writer of a file.
    ///
    /// # Errors
    /// Fails if the thread cannot be started.
    pub(super) fn new(name: &str, file: File) -> io::Result<Self> {
        let shared = Arc::new(SinkState::default());
        let theirs = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run_writer(&theirs, file))?;
        Ok(Self { shared, writer: thread.thread().clone() })
    }

    /// Starts the writer of a stream that the process was started with.
    ///
    /// # Errors
    /// Fails if the thread cannot be started, or if no file is left.
    pub(super) fn of(name: &str, stream: &impl AsFd) -> io::Result<Self> {
        Self::new(name, stream.as_fd().try_clone_to_owned()?.into())
    }

    /// Adds a line. `write` writes it without its line end.
    pub(super) fn add<E>(&self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) {
        let lines = &mut self.shared.waiting.lock().lines;
        if lines.len() >= MAX_PENDING_BYTES || write(lines).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        lines.push(b'\n');
    }

    /// Returns the number of lines that were lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Wakes the writer, so that lines are written at once. Does not wait for it.
    pub(super) fn hurry(&self) {
        self.writer.unpark();
    }

    /// Waits for a limited time until all lines are written. It is called at the end of the process.
    pub(super) fn flush(&self) {
        let end = Instant::now() + FLUSH_TIMEOUT;
        while self.shared.waiting.lock().is_something_left() && Instant::now() < end {
            self.hurry();
            std::thread::sleep(FLUSH_POLL_INTERVAL);
        }
    }
}

impl PendingLines {
    fn is_something_left(&self) -> bool {
        self.writes || !self.lines.is_empty()
    }
}

fn run_writer(shared: &Arc<SinkState>, mut file: File) {
    let mut batch = Vec::new();
    // Whether the last thing that could be written has no end.
    let mut torn = false;
    loop {
        let is_last = Arc::strong_count(shared) == 1;
        {
            let mut waiting = shared.waiting.lock();
            std::mem::swap(&mut batch, &mut waiting.lines);
            waiting.writes = !batch.is_empty();
        }
        if !batch.is_empty() {
            if torn {
                batch.insert(0, b'\n');
            }
            let written = write_up_to_error(&mut file, &batch);
            let (done, lost) = batch.split_at_checked(written).unwrap_or((&batch, &[]));
            torn = done.last().map_or(torn, |&last| last != b'\n');
            shared.dropped.fetch_add(memchr::memchr_iter(b'\n', lost).count() as u64, Ordering::Relaxed);
            batch.clear();
            batch.shrink_to(MAX_PENDING_BYTES / 16);
            shared.waiting.lock().writes = false;
        }
        if is_last {
            return;
        }
        std::thread::park_timeout(WRITE_INTERVAL);
    }
}

/// Writes as much as can be written, and returns the number of bytes.
fn write_up_to_error(file: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process that shares the pipe may have made it non-blocking. Waiting works all the same.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(WRITE_INTERVAL),
            Err(_) => break,
        }
    }
    written
}

/// The most bytes of lines that wait to be written.
const MAX_PENDING_BYTES: usize = 4 << 20;

/// The time between two writes.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);

/// The time for which the end of the process waits for a slow reader of lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// The time between two looks whether all lines are written.
const FLUSH_POLL_INTERVAL: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then fails.
    struct Full(usize, Vec<u8>);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let part = bytes.get(..self.0.min(3).min(bytes.len())).unwrap_or_default();
            if part.is_empty() {
                return Err(ErrorKind::StorageFull.into());
            }
            self.0 -= part.len();
            self.1.extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_takes_is_known() {
        for room in 0..12 {
            let mut disk = Full(room, Vec::new());
            assert_eq!(write_up_to_error(&mut disk, b"one\ntwo\n"), room.min(8));
        }
    }

    #[test]
    fn lines_are_whole_when_they_were_flushed_and_the_writer_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let sink = LineSink::new("test", File::create(&path).unwrap()).unwrap();
        for n in 0..1000 {
            sink.add(|lines| write!(lines, "line {n}"));
        }
        sink.flush();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!((text.lines().count(), text.lines().last()), (1000, Some("line 999")));
        assert_eq!(sink.dropped(), 0);
        let thread = Arc::downgrade(&sink.shared);
        drop(sink);
        let end = Instant::now() + Duration::from_secs(20);
        while thread.upgrade().is_some() && Instant::now() < end {
            std::thread::sleep(FLUSH_POLL_INTERVAL);
        }
        assert!(thread.upgrade().is_none());
    }
}
