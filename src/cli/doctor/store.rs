//! The data folder and the store in it: may they be used, are they whole, and does everything add up?

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use crossmodel::meter::Books;
use crossmodel::store::{self, State as Store};

use super::finding::{Finding, State};

/// Looks at a data folder.
pub(super) fn look(folder: &Path) -> Vec<Finding> {
    let subject = format!("data {}", folder.display());
    if !folder.exists() {
        return vec![absent(&subject, folder)];
    }
    let mut findings = vec![permissions(&subject, folder)];
    findings.extend(
        statvfs(folder).ok().map(|disk| space(&subject, disk.f_bavail.saturating_mul(disk.f_frsize))),
    );
    findings.extend(store(&subject, folder));
    findings
}

/// The first start makes it, if it may.
fn absent(subject: &str, folder: &Path) -> Finding {
    let parent = folder.ancestors().skip(1).find(|parent| parent.exists() || parent.as_os_str().is_empty());
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    match access(parent, Access::WRITE_OK) {
        Ok(()) => Finding::ok(subject, "folder", "the first start makes it"),
        Err(why) => {
            let message = format!("it is not there, and {} can not be written to: {why}", parent.display());
            let advice = "make it, owned by the user that runs the gateway";
            Finding::new(State::Wrong, subject, "folder", message, advice)
        }
    }
}

fn permissions(subject: &str, folder: &Path) -> Finding {
    let check = "permissions";
    let files = [folder.to_owned(), folder.join(store::FILE)];
    for file in files.iter().filter(|file| file.exists()) {
        if let Err(why) = access(file, Access::READ_OK | Access::WRITE_OK) {
            let message = format!("{} can not be written: {why}", file.display());
            let advice = "give it to the user that runs the gateway (chown), and see that the disk is not mounted \
                read-only";
            return Finding::new(State::Wrong, subject, check, message, advice);
        }
    }
    let mode = folder.metadata().map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o007 != 0 {
        let message = format!("mode {:03o}: every user of this machine may look into it", mode & 0o777);
        return Finding::new(State::Warning, subject, check, message, "chmod 750, or 700");
    }
    Finding::ok(subject, check, format!("mode {:03o}", mode & 0o777))
}

/// Judges the bytes that are left on the disk.
fn space(subject: &str, free: u64) -> Finding {
    let check = "disk";
    let message = format!("{} MiB free", free >> 20);
    let advice = "make room: when the disk is full, calls that cost something are answered with 503";
    match free {
        0..SPACE_NEEDED => Finding::new(State::Wrong, subject, check, message, advice),
        SPACE_NEEDED..SPACE_WANTED => Finding::new(State::Warning, subject, check, message, advice),
        _ => Finding::ok(subject, check, message),
    }
}

fn store(subject: &str, folder: &Path) -> Vec<Finding> {
    let check = "store";
    let wrong = |message: String, advice: &str| Finding::new(State::Wrong, subject, check, message, advice);
    let restore = "stop the gateway, keep a copy of the folder, and restore a backup";
    match store::inspect(folder) {
        Ok(Store::Absent) => vec![Finding::ok(subject, check, "the first start makes it")],
        Ok(Store::Damaged(what)) => vec![wrong(format!("it is damaged: {what}"), restore)],
        Ok(Store::Newer) => {
            let advice = "run the version of CrossModel that has made it, or a later one";
            vec![wrong("it was made by a newer version of CrossModel".to_owned(), advice)]
        }
        Ok(Store::Older) => {
            vec![Finding::ok(subject, check, "whole; the next start brings it up to date, back it up before")]
        }
        Ok(Store::Current) => {
            vec![Finding::ok(subject, check, "whole, and up to date"), books(subject, folder)]
        }
        Err(why) => vec![wrong(why.to_string(), restore)],
    }
}

fn books(subject: &str, folder: &Path) -> Finding {
    let check = "books";
    match Books::open(folder).and_then(|mut books| books.audit()) {
        Err(why) => {
            Finding::new(State::Wrong, subject, check, why.to_string(), "see the store's own findings")
        }
        Ok(audit) if audit.findings.is_empty() => {
            let counted = format!("{} calls, {} in flight: all adds up", audit.charges, audit.holds);
            Finding::ok(subject, check, counted)
        }
        Ok(audit) => {
            let message = format!("{} things do not add up", audit.findings.len());
            Finding::new(State::Wrong, subject, check, message, "`crossmodel ledger audit` names them")
        }
    }
}

/// Bytes without which the next write-ahead log or journal may not fit.
const SPACE_NEEDED: u64 = 64 << 20;

/// Bytes from which on there is time to notice.
const SPACE_WANTED: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_on_the_disk_is_judged() {
        let state = |free: u64| space("x", free).state;
        assert_eq!(
            [0, (64 << 20) - 1, 64 << 20, 1 << 30].map(state),
            [State::Wrong, State::Wrong, State::Warning, State::Ok]
        );
    }
}
