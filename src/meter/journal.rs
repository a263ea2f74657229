//! The journal: the beginnings and ends of calls, written before anybody relies on them.
//!
//! A call may only go upstream when its hold is on the disk, and the end of its answer may only be passed on when it
//! is certain that it will be charged. So records of 64 bytes are written to a file whose blocks are there already.
//! That an end is written takes a microsecond and outlives the process; holds are synced to the disk, as many at
//! once as have come. The ledger takes over what stands there in its own time; if the process dies before, the next
//! one does.
//!
//! Each process has a journal of its own and holds a lock on it for as long as it lives: by that others tell
//! whether its calls are still in flight. A record may be replaced once the ledger has it; one that is read
//! again all the same changes nothing, because each call begins and ends only once, and its progress only grows.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::canon::{Rates, Usage};
use crate::money::Amount;
use crate::private;
pub(super) use crate::store::JOURNALS;

use super::invariant::{Invariant, violated};
use super::types::{CallEnd, CallId, ChargeBasis};

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

/// A fact about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JournalRecord {
    /// It has begun.
    Hold(CallId, Hold),
    /// It goes on; so many tokens of its answer have been passed on.
    Mark(CallId, u64),
    /// It is over.
    End(CallId, CallEnd),
}

/// The money that is set aside for a call, and what an estimate of its cost needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    /// The number of the billing key in the store.
    pub(super) billing: i64,
    /// The number of the balance in the store; 0 in journals from before there were balances.
    pub(super) balance: i64,
    pub(super) amount: Amount,
    /// Tokens of the prompt, estimated.
    pub(super) prompt: u64,
    /// The rates that were asked for.
    pub(super) rates: Rates,
}

/// A record as it is written.
pub(super) type EncodedRecord = [u8; RECORD_BYTES];

impl JournalRecord {
    /// Returns the call that the record is about.
    fn call(&self) -> CallId {
        match self {
            Self::Hold(call, _) | Self::Mark(call, _) | Self::End(call, _) => *call,
        }
    }
}

impl Journal {
    /// Makes the journal of an epoch that begins.
    ///
    /// # Errors
    /// Fails if the file cannot be made or locked.
    pub(super) fn create(folder: &Path, epoch: i64) -> io::Result<Self> {
        private::folder(folder)?;
        // Nobody takes it for an orphan's before it is locked.
        let new = folder.join(format!("{epoch}.new"));
        let mut file = private::options().read(true).write(true).create_new(true).open(&new)?;
        file.lock()?;
        // In small pieces: what was written at once is kept together by the system, and each record that is then put
        // into it costs four times as much.
        for _ in 0..JOURNAL_BYTES / PAGE_BYTES {
            file.write_all(&[0; PAGE_BYTES])?;
        }
        file.sync_all()?;
        let path = folder.join(epoch.to_string());
        std::fs::rename(new, &path)?;
        File::open(folder)?.sync_all()?;
        Ok(Self { file, path, written: 0, taken: 0 })
    }

    /// Writes records.
    ///
    /// # Errors
    /// Fails if the file cannot be written, or too much of it is in use. The records are only in memory then.
    pub(super) fn write(&mut self, records: &[EncodedRecord]) -> io::Result<()> {
        if self.room() < records.len() as u64 {
            return Err(io::Error::other("the ledger does not take over what the journal holds"));
        }
        let place = self.written % SLOT_COUNT;
        let to_end = usize::try_from(SLOT_COUNT - place).map_err(io::Error::other)?;
        let (here, there) = records.split_at(records.len().min(to_end));
        self.file.write_all_at(here.as_flattened(), place * RECORD_BYTES as u64)?;
        self.file.write_all_at(there.as_flattened(), 0)?;
        self.written += records.len() as u64;
        Ok(())
    }

    /// Returns the number of records for which there is room.
    pub(super) fn room(&self) -> u64 {
        SLOT_COUNT - (self.written - self.taken)
    }

    /// Whether there is plenty of room, so that what is only good to know may be written, too.
    pub(super) fn is_roomy(&self) -> bool {
        self.room() > SLOT_COUNT / 2
    }

    /// Returns the file, to be synced by a thread that holds up nobody with it.
    ///
    /// # Errors
    /// Fails if the process cannot open another file.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Returns the number of records so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Notes that the ledger has taken over the first so many records.
    pub(super) fn taken(&mut self, records: u64) {
        if records < self.taken || records > self.written {
            let Self { written, taken, .. } = self;
            // None of its records is replaced then.
            return violated(
                Invariant::Journal,
                format_args!("{records} records of {written}, {taken} before"),
            );
        }
        self.taken = records;
    }

    /// Whether the ledger has all of them.
    pub(super) fn is_taken(&self) -> bool {
        self.taken == self.written
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
    pub(super) records: Vec<JournalRecord>,
    path: PathBuf,
    /// Keeps others away while it is taken over.
    _lock: File,
}

impl Orphan {
    /// Returns all journals whose processes are gone.
    ///
    /// # Errors
    /// Fails if the folder or a file in it cannot be read.
    pub(super) fn find(folder: &Path) -> io::Result<Vec<Self>> {
        private::folder(folder)?;
        let mut found = Vec::new();
        for (epoch, path) in all(folder)? {
            private::file(&path)?;
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
            let mut bytes = Vec::with_capacity(JOURNAL_BYTES);
            file.read_to_end(&mut bytes)?;
            let records = bytes.chunks_exact(RECORD_BYTES).filter_map(decode).collect();
            found.push(Self { epoch, records, path, _lock: file });
        }
        Ok(found)
    }

    /// Removes it, now that all of it is in the ledger.
    pub(super) fn remove(self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            // Somebody else has taken it over just before.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// Returns the epochs that have a journal.
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

/// Encodes a record, or returns `None` if it does not fit, which is a violation.
pub(super) fn encode(record: &JournalRecord) -> Option<EncodedRecord> {
    let encoded = match record {
        JournalRecord::Hold(call, hold) => {
            let mut fields = RecordWriter::new(HOLD, *call);
            fields.put(&hold.billing.to_le_bytes());
            fields.put(&hold.amount.nano().to_le_bytes());
            fields.put(&hold.prompt.to_le_bytes());
            fields.put(&[hold.rates.bits()]);
            fields.put(&hold.balance.to_le_bytes());
            fields.seal()
        }
        JournalRecord::Mark(call, delivered) => {
            let mut fields = RecordWriter::new(MARK, *call);
            fields.put(&delivered.to_le_bytes());
            fields.seal()
        }
        JournalRecord::End(call, end) => end_fields(*call, end),
    };
    fitting(encoded, record.call())
}

/// Encodes the record of an end, or returns `None` if it does not fit, which is a violation.
pub(super) fn encode_end(call: CallId, end: &CallEnd) -> Option<EncodedRecord> {
    fitting(end_fields(call, end), call)
}

fn fitting(encoded: Option<EncodedRecord>, call: CallId) -> Option<EncodedRecord> {
    if encoded.is_none() {
        violated(
            Invariant::Record,
            format_args!("a record of call {} does not fit into the journal", call.0),
        );
    }
    encoded
}

fn end_fields(call: CallId, end: &CallEnd) -> Option<EncodedRecord> {
    let (letter, _) = OUTCOMES.into_iter().find(|(_, outcome)| *outcome == end.outcome)?;
    let mut fields = RecordWriter::new(letter, call);
    fields.put(&end.charge.nano().to_le_bytes());
    fields.put(&end.others.nano().to_le_bytes());
    let usage = &end.usage;
    // Versions begin at 1.
    fields.put(&end.price.map_or(Some(0), |version| u32::try_from(version).ok())?.to_le_bytes());
    for count in counts(usage) {
        fields.put(&u32::try_from(count).ok()?.to_le_bytes());
    }
    fields.put(&u16::try_from(usage.searches).ok()?.to_le_bytes());
    let flags = [end.capped, end.whole, end.elsewhere];
    let flags = (0..).zip(flags).fold(0, |bits, (at, set)| bits | u8::from(set) << at);
    fields.put(&[flags | usage.rates.bits() << FLAG_BITS]);
    fields.seal()
}

/// A record that is being encoded.
struct RecordWriter {
    bytes: EncodedRecord,
    at: usize,
}

impl RecordWriter {
    fn new(kind: u8, call: CallId) -> Self {
        let mut fields = Self { bytes: [0; RECORD_BYTES], at: 0 };
        fields.put(&[kind]);
        fields.put(&call.0.to_le_bytes());
        fields
    }

    fn put(&mut self, field: &[u8]) {
        let end = self.at + field.len();
        if let Some(place) = self.bytes[..CHECKSUM_OFFSET].get_mut(self.at..end) {
            place.copy_from_slice(field);
        }
        self.at = end;
    }

    /// Returns the record with its checksum, or `None` if its fields do not fit.
    fn seal(mut self) -> Option<EncodedRecord> {
        let sum = crc32fast::hash(&self.bytes[..CHECKSUM_OFFSET]);
        self.bytes[CHECKSUM_OFFSET..].copy_from_slice(&sum.to_le_bytes());
        (self.at <= CHECKSUM_OFFSET).then_some(self.bytes)
    }
}

/// Returns the counts of tokens in a record, in their order.
fn counts(usage: &Usage) -> [u64; 7] {
    [
        usage.input,
        usage.cache_read,
        usage.cache_write,
        usage.output,
        usage.cache_write_long,
        usage.audio_input,
        usage.audio_output,
    ]
}

fn decode(bytes: &[u8]) -> Option<JournalRecord> {
    let (fields, sum) = bytes.split_at_checked(CHECKSUM_OFFSET)?;
    if sum != crc32fast::hash(fields).to_le_bytes() {
        return None;
    }
    let mut fields = RecordFields(fields);
    let kind = fields.byte()?;
    let call = CallId(fields.long()?.cast_signed());
    match kind {
        HOLD => {
            let (billing, amount) = (fields.long()?.cast_signed(), Amount::from_nano(fields.long()?.into()));
            let (prompt, rates) = (fields.long()?, Rates::from_bits(fields.byte()?));
            let balance = fields.long()?.cast_signed();
            Some(JournalRecord::Hold(call, Hold { billing, balance, amount, prompt, rates }))
        }
        MARK => Some(JournalRecord::Mark(call, fields.long()?)),
        _ => {
            let (_, outcome) =
                OUTCOMES.into_iter().find(|(letter, _)| *letter == kind.to_ascii_uppercase())?;
            // Small letters were written before rates and long writes to the cache were counted.
            let earlier = kind.is_ascii_lowercase();
            let end = if earlier { fields.earlier_end(outcome) } else { fields.end(outcome) };
            end.map(|end| JournalRecord::End(call, end))
        }
    }
}

/// The fields of a record that are still to be read.
struct RecordFields<'b>(&'b [u8]);

impl RecordFields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    fn short(&mut self) -> Option<u64> {
        self.take().map(u32::from_le_bytes).map(u64::from)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn amount(&mut self) -> Option<Amount> {
        self.long().map(|nano| Amount::from_nano(nano.into()))
    }

    fn end(&mut self, outcome: ChargeBasis) -> Option<CallEnd> {
        let (charge, others) = (self.amount()?, self.amount()?);
        let price = Some(self.short()?.cast_signed()).filter(|&version| version != 0);
        let mut usage = Usage {
            input: self.short()?,
            cache_read: self.short()?,
            cache_write: self.short()?,
            output: self.short()?,
            cache_write_long: self.short()?,
            audio_input: self.short()?,
            audio_output: self.short()?,
            searches: self.take().map(u16::from_le_bytes)?.into(),
            ..Usage::default()
        };
        let flags = self.byte()?;
        usage.rates = Rates::from_bits(flags >> FLAG_BITS);
        let [capped, whole, elsewhere] = [1, 2, 4].map(|flag| flags & flag != 0);
        Some(CallEnd { charge, others, elsewhere, price, outcome, usage, capped, whole, served: None })
    }

    fn earlier_end(&mut self, outcome: ChargeBasis) -> Option<CallEnd> {
        let charge = self.amount()?;
        let usage = Usage {
            input: self.long()?,
            cache_read: self.long()?,
            cache_write: self.long()?,
            output: self.long()?,
            ..Usage::default()
        };
        let price = Some(self.long()?.cast_signed()).filter(|&version| version != 0);
        let flags = self.byte()?;
        let (capped, whole) = (flags & 1 != 0, flags & 2 != 0);
        Some(CallEnd { price, capped, whole, charge, usage, outcome, ..CallEnd::released() })
    }
}

const HOLD: u8 = b'h';
const MARK: u8 = b'm';

/// The kinds of ends.
const OUTCOMES: [(u8, ChargeBasis); 4] = [
    (b'X', ChargeBasis::Exact),
    (b'E', ChargeBasis::Estimated),
    (b'R', ChargeBasis::Recovered),
    (b'F', ChargeBasis::Released),
];

/// Bits in the last byte of an end that say how it is; those above are its rates.
const FLAG_BITS: u32 = 3;

/// Bytes of a record: a page holds a whole number of them, so none is torn when a process is killed.
const RECORD_BYTES: usize = 64;

/// Bytes of a record before its check sum.
const CHECKSUM_OFFSET: usize = RECORD_BYTES - 4;

/// Records in a journal: more calls than one process can have in flight.
const SLOT_COUNT: u64 = 1 << 16;

/// Bytes that the system keeps together.
const PAGE_BYTES: usize = 4096;

/// Bytes of a journal.
const JOURNAL_BYTES: usize = RECORD_BYTES << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Rate;

    fn end(capped: bool) -> CallEnd {
        let usage = Usage {
            input: 1,
            cache_read: 2,
            cache_write: u32::MAX.into(),
            output: 4,
            cache_write_long: 5,
            audio_input: 6,
            audio_output: 7,
            searches: u16::MAX.into(),
            rates: Rate::ALL.into_iter().filter(|rate| capped || *rate == Rate::Us).collect(),
            ..Usage::default()
        };
        CallEnd {
            served: None,
            charge: Amount::from_nano(77),
            others: Amount::from_nano(33),
            elsewhere: capped,
            price: capped.then_some(3),
            outcome: ChargeBasis::Exact,
            usage,
            capped,
            whole: !capped,
        }
    }

    #[test]
    fn records_are_read_as_they_were_written_and_only_whole() {
        for record in [
            JournalRecord::Hold(
                CallId(5),
                Hold {
                    billing: 7,
                    balance: -6,
                    amount: Amount::from_nano(8),
                    prompt: u64::MAX,
                    rates: Rates::default().with(Rate::Priority),
                },
            ),
            JournalRecord::Mark(CallId(-3), 9),
            JournalRecord::End(CallId(1 << 50), end(true)),
            JournalRecord::End(CallId(7), end(false)),
        ] {
            let bytes = encode(&record).unwrap();
            assert_eq!(decode(&bytes), Some(record));
            for at in 0..RECORD_BYTES {
                let mut damaged = bytes;
                damaged[at] ^= 0x40;
                assert_eq!(decode(&damaged), None, "byte {at}");
            }
        }
        assert_eq!(decode(&[0; RECORD_BYTES]), None);
    }

    #[test]
    fn records_of_the_version_before_are_read() {
        let written = |fields: &[&[u8]]| {
            let mut bytes = [0; RECORD_BYTES];
            let fields = fields.concat();
            bytes[..fields.len()].copy_from_slice(&fields);
            let sum = crc32fast::hash(&bytes[..CHECKSUM_OFFSET]);
            bytes[CHECKSUM_OFFSET..].copy_from_slice(&sum.to_le_bytes());
            decode(&bytes).unwrap()
        };
        let number = |n: u64| n.to_le_bytes();
        let hold = written(&[b"h", &number(5), &number(7), &number(8), &number(9)]);
        let begun =
            Hold { billing: 7, balance: 0, amount: Amount::from_nano(8), prompt: 9, rates: Rates::default() };
        assert_eq!(hold, JournalRecord::Hold(CallId(5), begun));
        let end = written(&[b"x", &[5, 77, 1, 2, 3, 4, 6].map(number).concat(), &[3]]);
        let usage = Usage { input: 1, cache_read: 2, cache_write: 3, output: 4, ..Usage::default() };
        let (charge, outcome) = (Amount::from_nano(77), ChargeBasis::Exact);
        let ended = CallEnd {
            charge,
            price: Some(6),
            outcome,
            usage,
            capped: true,
            whole: true,
            ..CallEnd::released()
        };
        assert_eq!(end, JournalRecord::End(CallId(5), ended));
    }

    #[test]
    fn an_orphan_is_found_when_its_process_is_gone_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path(), 5).unwrap();
        journal.write(&[encode(&JournalRecord::Mark(CallId(1), 2)).unwrap()]).unwrap();
        assert!(Orphan::find(folder.path()).unwrap().is_empty());
        drop(journal);
        let orphan = Orphan::find(folder.path()).unwrap().remove(0);
        assert_eq!((orphan.epoch, &orphan.records[..]), (5, &[JournalRecord::Mark(CallId(1), 2)][..]));
        orphan.remove().unwrap();
        assert!(epochs(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn no_record_is_replaced_before_the_ledger_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path(), 1).unwrap();
        let records = |from: u64, to: u64| {
            (from..to).map(|n| encode(&JournalRecord::Mark(CallId(1), n)).unwrap()).collect::<Vec<_>>()
        };
        journal.write(&records(0, SLOT_COUNT - 1)).unwrap();
        assert!(!journal.is_roomy());
        assert!(journal.write(&records(SLOT_COUNT - 1, SLOT_COUNT + 1)).is_err());
        journal.taken(journal.written());
        assert!(journal.is_roomy());
        // Over the end of the file.
        journal.write(&records(SLOT_COUNT - 1, SLOT_COUNT + 2)).unwrap();
        drop(journal);
        let found = Orphan::find(folder.path()).unwrap().remove(0).records;
        let mark = |n| JournalRecord::Mark(CallId(1), n);
        assert_eq!(
            (found.len() as u64, found.first(), found.last()),
            (SLOT_COUNT, Some(&mark(SLOT_COUNT)), Some(&mark(SLOT_COUNT - 1)))
        );
    }
}
