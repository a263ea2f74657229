//! Instructions and allocations of a process that runs under Callgrind.
//!
//! Valgrind runs one thread at a time and on a processor of its own making, so that the counts are the same on a
//! machine that is fast, slow or busy. It does not count what the kernel does.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder for what Callgrind writes, and for the pipes by which it is spoken to.
pub(crate) struct Callgrind<'a> {
    pub(crate) folder: &'a Path,
}

/// The work of a process between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) instructions: f64,
    /// Calls of an allocator's functions from outside of it.
    pub(crate) allocations: f64,
}

impl Counts {
    /// The same for one of so many.
    pub(crate) fn per(self, units: f64) -> Self {
        Self { instructions: self.instructions / units, allocations: self.allocations / units }
    }
}

impl Callgrind<'_> {
    /// The command that a program is started with.
    pub(crate) fn command(&self) -> Vec<String> {
        let folder = self.folder.display();
        vec![
            "valgrind".to_owned(),
            "--tool=callgrind".to_owned(),
            format!("--callgrind-out-file={folder}/%p"),
            format!("--vgdb-prefix={folder}/vgdb"),
        ]
    }

    /// Counts from here.
    pub(crate) fn zero(&self, process: u32) {
        self.tell(process, "zero");
    }

    /// Returns its work since then.
    pub(crate) fn counts(&self, process: u32) -> Counts {
        self.tell(process, "dump");
        let file = self.dump(process);
        let counts = read(&fs::read_to_string(&file).unwrap());
        fs::remove_file(file).unwrap();
        counts
    }

    fn tell(&self, process: u32, what: &str) {
        let prefix = format!("--vgdb-prefix={}/vgdb", self.folder.display());
        let told = Command::new("vgdb").args([&prefix, &format!("--pid={process}"), what]).output().unwrap();
        assert!(told.status.success(), "vgdb {what}: {}", String::from_utf8_lossy(&told.stderr));
    }

    /// The file of its last dump, which has a number; the one without is for the end.
    fn dump(&self, process: u32) -> PathBuf {
        let own = format!("{process}.");
        let mut files = fs::read_dir(self.folder).unwrap().map(|entry| entry.unwrap());
        files.find(|entry| entry.file_name().to_string_lossy().starts_with(&own)).unwrap().path()
    }
}

/// Reads a file of Callgrind's.
fn read(text: &str) -> Counts {
    let mut allocators = HashSet::new();
    let mut counts = Counts::default();
    let (mut inside, mut called) = (false, false);
    for line in text.lines() {
        if let Some(function) = line.strip_prefix("fn=") {
            inside = is_allocator(&mut allocators, function);
        } else if let Some(function) = line.strip_prefix("cfn=") {
            called = is_allocator(&mut allocators, function);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            counts.allocations += if called && !inside { number(calls) } else { 0.0 };
        } else if let Some(total) = line.strip_prefix("totals: ") {
            counts.instructions = number(total);
        }
    }
    counts
}

/// Whether a function, written as `(12) name`, gives out memory. The name stands only where the number is new.
fn is_allocator<'a>(known: &mut HashSet<&'a str>, function: &'a str) -> bool {
    let (number, name) = function.split_once(' ').unwrap_or((function, ""));
    if ALLOCATORS.contains(&name) {
        known.insert(number);
    }
    known.contains(number)
}

fn number(text: &str) -> f64 {
    text.split(' ').next().unwrap_or_default().parse().unwrap()
}

/// Mimalloc's functions that Rust calls, and those of C.
const ALLOCATORS: [&str; 8] = [
    "mi_malloc_aligned",
    "mi_zalloc_aligned",
    "mi_realloc_aligned",
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
];
