//! Checks of the data folder and its store: whether they are accessible, intact, and add up.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};
use rustix::process::geteuid;

use crossmodel::meter::Books;
use crossmodel::private::{self, Exposure, exposure};
use crossmodel::store::{self, StoreState};

use super::finding::{CheckState, DoctorFinding};

/// Checks a data folder.
pub(super) fn look(folder: &Path) -> Vec<DoctorFinding> {
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

/// Judges a folder that does not exist: the first start makes it, if it may.
fn absent(subject: &str, folder: &Path) -> DoctorFinding {
    let parent = folder.ancestors().skip(1).find(|parent| parent.exists() || parent.as_os_str().is_empty());
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    match access(parent, Access::WRITE_OK) {
        Ok(()) => DoctorFinding::ok(subject, "folder", "the first start makes it"),
        Err(why) => {
            let message = format!("it is not there, and {} cannot be written to: {why}", parent.display());
            let advice = "make it, owned by the user that runs the gateway";
            DoctorFinding::new(CheckState::Wrong, subject, "folder", message, advice)
        }
    }
}

fn permissions(subject: &str, folder: &Path) -> DoctorFinding {
    let check = "permissions";
    let files = [folder.to_owned(), folder.join(store::FILE)];
    for file in files.iter().filter(|file| file.exists()) {
        if let Err(why) = access(file, Access::READ_OK | Access::WRITE_OK) {
            let message = format!("{} cannot be written: {why}", file.display());
            let advice = "give it to the user that runs the gateway (chown), and see that the disk is not mounted \
                read-only";
            return DoctorFinding::new(CheckState::Wrong, subject, check, message, advice);
        }
    }
    modes(subject, check, folder)
}

/// Judges who besides the gateway can access the folder and the files in it.
fn modes(subject: &str, check: &'static str, folder: &Path) -> DoctorFinding {
    let mode = |path: &Path| path.metadata().map_or(0, |metadata| metadata.mode() & 0o777);
    let is_open = |path: &Path| path.metadata().is_ok_and(|metadata| exposure(&metadata) >= Exposure::Group);
    if let Some(finding) = volume(subject, check, folder) {
        return finding;
    }
    let open: Vec<_> = store::made(folder).into_iter().filter(|path| is_open(path)).collect();
    if let Some(first) = open.first() {
        let others = if open.len() > 1 { format!(", and {} more", open.len() - 1) } else { String::new() };
        let first = format!("{} has mode {:03o}", first.display(), mode(first));
        let advice = "chmod -R go= the folder; the gateway does so where it may, at its start";
        return DoctorFinding::new(
            CheckState::Wrong,
            subject,
            check,
            format!("{first}{others}: not only ours"),
            advice,
        );
    }
    if let Some(parent) = private::open_parent(folder) {
        let message = format!("every user of this machine may replace what is in {}", parent.display());
        return DoctorFinding::new(
            CheckState::Wrong,
            subject,
            check,
            message,
            "chmod o-w it, or keep the data elsewhere",
        );
    }
    let folders_mode = format!("mode {:03o}", mode(folder));
    match folder.metadata().map(|metadata| exposure(&metadata)) {
        // The files in it are the gateway's alone all the same, and a mounted volume has to be like this.
        Ok(Exposure::ForeignGroup) => {
            DoctorFinding::ok(subject, check, format!("{folders_mode}, of another user and our group"))
        }
        _ => DoctorFinding::ok(subject, check, folders_mode),
    }
}

/// Judges a folder that belongs to another user and is readable by everybody. The gateway cannot close it, and
/// works in it all the same, because the files that it makes there are its own.
fn volume(subject: &str, check: &'static str, folder: &Path) -> Option<DoctorFinding> {
    let metadata = folder.metadata().ok()?;
    let me = geteuid();
    let is_foreign = metadata.uid() != me.as_raw() && !me.is_root();
    (is_foreign && exposure(&metadata) == Exposure::Readable).then(|| {
        let message =
            format!("mode {:03o}, of another user: everybody may look into it", metadata.mode() & 0o777);
        let advice = "keep the data in a folder inside of it, which is then made for the gateway alone";
        DoctorFinding::new(CheckState::Warning, subject, check, message, advice)
    })
}

/// Judges the bytes that are free on the disk.
fn space(subject: &str, free: u64) -> DoctorFinding {
    let check = "disk";
    let message = format!("{} MiB free", free >> 20);
    let advice = "make room: when the disk is full, calls that cost something are answered with 503";
    match free {
        0..MIN_FREE_BYTES => DoctorFinding::new(CheckState::Wrong, subject, check, message, advice),
        MIN_FREE_BYTES..RECOMMENDED_FREE_BYTES => {
            DoctorFinding::new(CheckState::Warning, subject, check, message, advice)
        }
        _ => DoctorFinding::ok(subject, check, message),
    }
}

fn store(subject: &str, folder: &Path) -> Vec<DoctorFinding> {
    let check = "store";
    let wrong = |message: String, advice: &str| {
        DoctorFinding::new(CheckState::Wrong, subject, check, message, advice)
    };
    let restore = "stop the gateway, keep a copy of the folder, and restore a backup";
    match store::inspect(folder) {
        Ok(StoreState::Absent) => vec![DoctorFinding::ok(subject, check, "the first start makes it")],
        Ok(StoreState::Damaged(what)) => vec![wrong(format!("it is damaged: {what}"), restore)],
        Ok(StoreState::Newer) => {
            let advice = "run the version of CrossModel that has made it, or a later one";
            vec![wrong("it was made by a newer version of CrossModel".to_owned(), advice)]
        }
        Ok(StoreState::Older) => {
            vec![DoctorFinding::ok(
                subject,
                check,
                "whole; the next start brings it up to date, back it up before",
            )]
        }
        Ok(StoreState::Current) => {
            let whole = DoctorFinding::ok(subject, check, "whole, and up to date");
            vec![whole, books(subject, folder), backup(subject, folder)]
        }
        Err(why) => vec![wrong(why.to_string(), restore)],
    }
}

/// Tells the age of the latest backup.
fn backup(subject: &str, folder: &Path) -> DoctorFinding {
    let message = match store::last_backup(folder) {
        Some(last) => {
            let hours = (store::now() - last.time).max(0) / 3_600;
            format!("{} days and {} hours old: {}", hours / 24, hours % 24, last.path.display())
        }
        None => "none was made with `crossmodel store backup`".to_owned(),
    };
    DoctorFinding::ok(subject, "backup", message)
}

fn books(subject: &str, folder: &Path) -> DoctorFinding {
    let check = "books";
    match Books::open_to_read(folder).and_then(|mut books| books.audit()) {
        Err(why) => DoctorFinding::new(
            CheckState::Wrong,
            subject,
            check,
            why.to_string(),
            "see the store's own findings",
        ),
        Ok(audit) if audit.findings.is_empty() => {
            let counted = format!("{} calls, {} in flight: all adds up", audit.charges, audit.holds);
            DoctorFinding::ok(subject, check, counted)
        }
        Ok(audit) => {
            let message = format!("{} things do not add up", audit.findings.len());
            DoctorFinding::new(
                CheckState::Wrong,
                subject,
                check,
                message,
                "`crossmodel ledger audit` names them",
            )
        }
    }
}

/// The free bytes below which the next write-ahead log or journal may not fit.
const MIN_FREE_BYTES: u64 = 64 << 20;

/// The free bytes below which a warning is given: above this there is time to react.
const RECOMMENDED_FREE_BYTES: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_on_the_disk_is_judged() {
        let state = |free: u64| space("x", free).state;
        assert_eq!(
            [0, (64 << 20) - 1, 64 << 20, 1 << 30].map(state),
            [CheckState::Wrong, CheckState::Wrong, CheckState::Warning, CheckState::Ok]
        );
    }
}
