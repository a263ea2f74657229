//! The gateways that run on a data folder.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Returns the numbers of the processes that run a gateway on a data folder, without this process. Each holds a lock on a
/// journal of its own. Where the system has no list of locks, there is nothing to be found.
#[must_use]
pub fn gateways(folder: &Path) -> BTreeSet<u32> {
    let journals = fs::read_dir(folder.join(JOURNALS)).into_iter().flatten().flatten();
    let inodes = journals.filter_map(|entry| Some(entry.metadata().ok()?.ino())).collect();
    let locks = fs::read_to_string(LOCKS).unwrap_or_default();
    let mut found = holders(&locks, &inodes);
    found.remove(&std::process::id());
    found
}

/// Returns the processes that hold locks on files with these inodes.
fn holders(locks: &str, inodes: &BTreeSet<u64>) -> BTreeSet<u32> {
    let holder = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        if words.next()? != "FLOCK" {
            return None;
        }
        let (process, file) = (words.nth(2)?.parse().ok()?, words.next()?);
        let inode = file.rsplit(':').next()?.parse().ok()?;
        inodes.contains(&inode).then_some(process)
    };
    locks.lines().filter_map(holder).filter(|process| *process > 0).collect()
}

/// The folder of the gateways' journals in a data folder.
pub const JOURNALS: &str = "journal";

/// The system's list of locks.
const LOCKS: &str = "/proc/locks";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_of_journals_are_told_from_other_locks() {
        let locks = "\
1: POSIX  ADVISORY  READ 11 fe:01:100 128 128
2: FLOCK  ADVISORY  WRITE 812 fe:01:100 0 EOF
2: -> FLOCK  ADVISORY  WRITE 813 fe:01:100 0 EOF
3: FLOCK  ADVISORY  WRITE 14 fe:01:101 0 EOF
4: FLOCK  ADVISORY  WRITE -1 fe:01:100 0 EOF
5: FLOCK  ADVISORY
";
        assert_eq!(holders(locks, &BTreeSet::from([100])), BTreeSet::from([812]));
        assert!(holders("", &BTreeSet::from([100])).is_empty());
    }

    #[test]
    fn a_folder_without_journals_has_no_gateway() {
        assert!(gateways(tempfile::tempdir().unwrap().path()).is_empty());
    }
}
