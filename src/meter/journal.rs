//! The journal: what has become of calls, written before the client knows.
//!
//! The end of an answer may only be passed on when it is certain that the call will be charged, and there is
//! no time to wait for a disk at that point. So a record of 64 bytes is written to a file whose blocks are
//! there already, which takes about a microsecond and outlives the process. The ledger takes over what
//! stands there in its own time; if the process dies before, the next one does.
//!
//! Each process has a journal of its own and holds a lock on it for as long as it lives: by that others tell
//! whether its calls are still in flight. A record may be replaced once the ledger has it; one that is read
//! again all the same changes nothing, because each call ends only once.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::canon::Usage;
use crate::money::Amount;

use super::{CallId, End, Outcome};

/// The journal of this process.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    /// Records written.
    written: u64,
    /// Records that the ledger has.
    taken: u64,
}

/// What is known of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// It goes on; so many tokens of its answer have been passed on.
    Mark(CallId, u64),
    /// It is over.
    End(CallId, End),
}

impl Journal {
    /// Makes the journal of an epoch that begins.
    ///
    /// # Errors
    /// When the file can not be made or locked.
    pub(super) fn create(folder: &Path, epoch: i64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = path(folder, epoch);
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        file.lock()?;
        // In small pieces: what was written at once is kept together by the system, and each record that is then put
        // into it costs four times as much.
        for _ in 0..LENGTH / PAGE {
            file.write_all(&[0; PAGE])?;
        }
        file.sync_all()?;
        Ok(Self { file, path, written: 0, taken: 0 })
    }

    /// Writes a record.
    ///
    /// # Errors
    /// When the file can not be written, or all of it is in use: then the record is only in memory.
    pub(super) fn write(&mut self, record: &Record) -> io::Result<()> {
        if self.written - self.taken >= SLOTS {
            return Err(io::Error::other("the ledger does not take over what the journal holds"));
        }
        let place = self.written % SLOTS * SIZE as u64;
        self.file.write_all_at(&encode(record), place)?;
        self.written += 1;
        Ok(())
    }

    /// Is there plenty of room, so that what is only good to know may be written, too?
    pub(super) fn is_roomy(&self) -> bool {
        self.written - self.taken < SLOTS / 2
    }

    /// How many records there are so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// The ledger has taken over the first so many records.
    pub(super) fn taken(&mut self, records: u64) {
        self.taken = records;
    }

    #[cfg(test)]
    pub(super) fn unlock(&self) {
        self.file.unlock().unwrap();
    }

    /// Removes the file: nothing in it is needed any more.
    pub(super) fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!("{}: {error}", self.path.display());
        }
    }
}

/// The journal of a process that is no more.
#[derive(Debug)]
pub(super) struct Orphan {
    pub(super) epoch: i64,
    pub(super) records: Vec<Record>,
    path: PathBuf,
    /// Keeps others away while it is taken over.
    _lock: File,
}

impl Orphan {
    /// All journals whose processes are gone.
    ///
    /// # Errors
    /// When the folder or a file in it can not be read.
    pub(super) fn find(folder: &Path) -> io::Result<Vec<Self>> {
        std::fs::create_dir_all(folder)?;
        let mut found = Vec::new();
        for (epoch, path) in all(folder)? {
            let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let mut bytes = Vec::with_capacity(LENGTH);
            file.read_to_end(&mut bytes)?;
            let records = bytes.chunks_exact(SIZE).filter_map(decode).collect();
            found.push(Self { epoch, records, path, _lock: file });
        }
        Ok(found)
    }

    /// Removes it, now that all of it is in the ledger.
    pub(super) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// The epochs that have a journal.
pub(super) fn epochs(folder: &Path) -> io::Result<Vec<i64>> {
    Ok(all(folder)?.into_iter().map(|(epoch, _)| epoch).collect())
}

fn all(folder: &Path) -> io::Result<Vec<(i64, PathBuf)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let epoch = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        all.extend(epoch.map(|epoch| (epoch, path)));
    }
    Ok(all)
}

fn path(folder: &Path, epoch: i64) -> PathBuf {
    folder.join(epoch.to_string())
}

fn encode(record: &Record) -> [u8; SIZE] {
    let mut fields = Vec::with_capacity(SIZE);
    match record {
        Record::Mark(call, delivered) => {
            fields.push(MARK);
            fields.extend(call.0.to_le_bytes());
            fields.extend(delivered.to_le_bytes());
        }
        Record::End(call, end) => {
            fields.push(match end.outcome {
                Outcome::Exact => b'x',
                Outcome::Estimated => b'e',
                Outcome::Recovered => b'r',
                Outcome::Released => b'f',
            });
            fields.extend(call.0.to_le_bytes());
            fields.extend(end.charge.nano().to_le_bytes());
            let usage = &end.usage;
            for count in [usage.input, usage.cache_read, usage.cache_write, usage.output] {
                fields.extend(count.to_le_bytes());
            }
            fields.extend(end.price.unwrap_or_default().to_le_bytes());
            fields.push(u8::from(end.capped) | u8::from(end.whole) << 1);
        }
    }
    let mut bytes = [0; SIZE];
    if let Some(place) = bytes.get_mut(..fields.len()) {
        place.copy_from_slice(&fields);
    }
    let sum = crc32fast::hash(&bytes[..SUM]);
    bytes[SUM..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Record> {
    let (fields, sum) = bytes.split_at_checked(SUM)?;
    if sum != crc32fast::hash(fields).to_le_bytes() {
        return None;
    }
    let (&kind, numbers) = fields.split_first()?;
    let (numbers, rest) = numbers.as_chunks::<8>();
    let number = |at: usize| numbers.get(at).copied().map(u64::from_le_bytes);
    let call = CallId(numbers.first().copied().map(i64::from_le_bytes)?);
    let outcome = match kind {
        MARK => return Some(Record::Mark(call, number(1)?)),
        b'x' => Outcome::Exact,
        b'e' => Outcome::Estimated,
        b'r' => Outcome::Recovered,
        b'f' => Outcome::Released,
        _ => return None,
    };
    let usage = Usage {
        input: number(2)?,
        cache_read: number(3)?,
        cache_write: number(4)?,
        output: number(5)?,
        reasoning: None,
    };
    let price = numbers.get(6).copied().map(i64::from_le_bytes).filter(|&version| version != 0);
    let flags = rest.first()?;
    let (capped, whole) = (flags & 1 != 0, flags & 2 != 0);
    Some(Record::End(
        call,
        End { charge: Amount::from_nano(number(1)?.into()), price, outcome, usage, capped, whole },
    ))
}

const MARK: u8 = b'm';

/// Bytes of a record: a page holds a whole number of them, so none is torn when a process is killed.
const SIZE: usize = 64;

/// Bytes of a record before its check sum.
const SUM: usize = SIZE - 4;

/// Records in a journal: more calls than one process can have in flight.
const SLOTS: u64 = 1 << 16;

/// Bytes that the system keeps together.
const PAGE: usize = 4096;

/// Bytes of a journal.
const LENGTH: usize = SIZE << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn end(capped: bool) -> End {
        let usage = Usage { input: 1, cache_read: 2, cache_write: u64::MAX, output: 4, reasoning: None };
        End {
            charge: Amount::from_nano(77),
            price: capped.then_some(3),
            outcome: Outcome::Exact,
            usage,
            capped,
            whole: !capped,
        }
    }

    #[test]
    fn records_are_read_as_they_were_written_and_only_whole() {
        for record in [
            Record::Mark(CallId(-3), 9),
            Record::End(CallId(1 << 50), end(true)),
            Record::End(CallId(7), end(false)),
        ] {
            let bytes = encode(&record);
            assert_eq!(decode(&bytes), Some(record));
            for at in 0..SIZE {
                let mut damaged = bytes;
                damaged[at] ^= 0x40;
                assert_eq!(decode(&damaged), None, "byte {at}");
            }
        }
        assert_eq!(decode(&[0; SIZE]), None);
    }

    #[test]
    fn an_orphan_is_found_when_its_process_is_gone_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path(), 5).unwrap();
        journal.write(&Record::Mark(CallId(1), 2)).unwrap();
        assert!(Orphan::find(folder.path()).unwrap().is_empty());
        drop(journal);
        let orphan = Orphan::find(folder.path()).unwrap().remove(0);
        assert_eq!((orphan.epoch, &orphan.records[..]), (5, &[Record::Mark(CallId(1), 2)][..]));
        orphan.remove().unwrap();
        assert!(epochs(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn no_record_is_replaced_before_the_ledger_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path(), 1).unwrap();
        for n in 0..SLOTS {
            journal.write(&Record::Mark(CallId(1), n)).unwrap();
        }
        assert!(!journal.is_roomy());
        assert!(journal.write(&Record::Mark(CallId(1), 0)).is_err());
        journal.taken(journal.written());
        assert!(journal.is_roomy());
        assert!(journal.write(&Record::Mark(CallId(1), 0)).is_ok());
    }
}
