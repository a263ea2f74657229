//! Files and folders that nobody but the user of the gateway may use.
//!
//! Modes are set here and never left to the umask, and what is laxer is tightened whenever it is opened: it may have
//! been made by an earlier version, restored from a backup, or opened by hand.
//!
//! Existing files are changed by their names and never opened for that: a process that closes a file gives up all of
//! its locks on it, SQLite's included.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// The circle of those who besides its owner may use a file or folder; the more, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exposure {
    /// Nobody.
    None,
    /// Its group, and it belongs to somebody else: whoever has made it has meant it so.
    ForeignGroup,
    /// Its group, and it is ours.
    Group,
    /// Every user of the machine may read it.
    Readable,
    /// Every user of the machine may change it.
    Writable,
}

/// The exposure of a file or folder.
#[must_use]
pub fn exposure(metadata: &Metadata) -> Exposure {
    let mode = metadata.mode();
    // The right to a symbolic link means nothing: what it leads to has rights of its own.
    match (mode & 0o002 != 0, mode & 0o007 != 0, mode & 0o070 != 0, is_ours(metadata)) {
        (true, ..) => Exposure::Writable,
        (_, true, ..) => Exposure::Readable,
        (_, _, true, true) => Exposure::Group,
        (_, _, true, false) => Exposure::ForeignGroup,
        _ => Exposure::None,
    }
}

/// Makes a folder for its owner alone, with those above it, or tightens the one that is there.
///
/// A folder of another owner, as a volume of a container is, is taken if not everybody may write to it: the files in it
/// have modes of their own.
///
/// # Errors
/// When it cannot be made, or is open and cannot be tightened. Then the error says what to do.
pub fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)?;
    let link = fs::symlink_metadata(path)?;
    if link.is_symlink() && !is_ours(&link) && link.uid() != ROOT {
        return Err(refused(path, &link, "is a symbolic link of another user: name the folder itself"));
    }
    let metadata = fs::metadata(path)?;
    let exposure = exposure(&metadata);
    if exposure <= Exposure::ForeignGroup {
        return Ok(());
    }
    if metadata.mode() & STICKY != 0 {
        let why = "is a folder for everybody: name a folder of the gateway's own inside of it";
        return Err(refused(path, &metadata, why));
    }
    let tightened = tighten(path, &metadata);
    match tightened {
        Err(_) if exposure == Exposure::Readable => Ok(()),
        Err(_) => {
            let why = "may be written to by every user and belongs to another: let its owner `chmod o= ` it, or name \
                a folder inside of it, which is then made for the gateway alone";
            Err(refused(path, &metadata, why))
        }
        Ok(()) => Ok(()),
    }
}

/// As [`folder`], for a folder in which everything is the gateway's: one that is open and holds other things, but not
/// the file `sign`, is refused and not closed to others, who may need it.
///
/// # Errors
/// As [`folder`].
pub fn own_folder(path: &Path, sign: &str) -> io::Result<()> {
    if let Ok(metadata) = fs::metadata(path)
        && exposure(&metadata) > Exposure::Group
        && metadata.mode() & STICKY == 0
        && !path.join(sign).try_exists()?
        && fs::read_dir(path)?.flatten().any(|entry| entry.file_name() != LOST_AND_FOUND)
    {
        let why = "is open to every user and holds other things: name a folder of the gateway's own, or `chmod 700` it";
        return Err(refused(path, &metadata, why));
    }
    folder(path)
}

/// Makes an empty file for its owner alone, if there is none. One that root makes belongs to the owner of the folder, who
/// has to use it afterwards.
///
/// # Errors
/// When it cannot be made.
pub fn create(path: &Path) -> io::Result<()> {
    let made = match options().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    };
    let folder = path.parent().and_then(|folder| fs::metadata(folder).ok());
    match folder.filter(|folder| geteuid().is_root() && !is_ours(folder)) {
        Some(folder) => fchown(&made, Some(folder.uid()), Some(folder.gid())),
        None => Ok(()),
    }
}

/// Tightens a file, if it is there.
///
/// # Errors
/// When it is open to everybody and cannot be tightened, or is no file of its own. Then the error says what to do.
pub fn file(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if metadata.is_symlink() {
        return Err(refused(path, &metadata, "is a symbolic link: put the file itself in its place"));
    }
    if exposure(&metadata) <= Exposure::ForeignGroup {
        return Ok(());
    }
    match tighten(path, &metadata) {
        // Whoever is done with it may remove it meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(_) => {
            let why = "may be used by every user and belongs to another: let its owner `chmod o=` it, or give it to the \
                user that runs the gateway (chown)";
            Err(refused(path, &metadata, why))
        }
        Ok(()) => Ok(()),
    }
}

/// The options with which a file is made for its owner alone.
#[must_use]
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE);
    options
}

/// Takes an open file away from those who are neither its owner nor of its group, if it is ours and no device or pipe.
pub fn close_to_others(file: &File) {
    let Ok(metadata) = file.metadata() else { return };
    if metadata.is_file() && is_ours(&metadata) && metadata.mode() & OTHERS != 0 {
        // What cannot be changed was opened all the same.
        let _ = file.set_permissions(Permissions::from_mode(metadata.mode() & 0o777 & !OTHERS));
    }
}

/// Reads a text, and says who else may read it.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> io::Result<(String, Exposure)> {
    let mut file = File::open(path)?;
    let exposure = exposure(&file.metadata()?);
    let mut text = String::new();
    io::Read::read_to_string(&mut file, &mut text)?;
    Ok((text, exposure))
}

/// The folder above one, if every user may replace what is in it.
#[must_use]
pub fn open_parent(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let parent = path.parent()?;
    let mode = fs::metadata(parent).ok()?.mode();
    (mode & 0o002 != 0 && mode & STICKY == 0).then(|| parent.to_owned())
}

/// Leaves what is ours to ourselves, and what is another's to that one and the group.
fn tighten(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let excess = if is_ours(metadata) { GROUP | OTHERS } else { OTHERS };
    fs::set_permissions(path, Permissions::from_mode(metadata.mode() & 0o7777 & !excess))
}

fn is_ours(metadata: &Metadata) -> bool {
    metadata.uid() == geteuid().as_raw()
}

fn refused(path: &Path, metadata: &Metadata, why: &str) -> io::Error {
    let (mode, uid) = (metadata.mode() & 0o7777, metadata.uid());
    io::Error::new(
        ErrorKind::PermissionDenied,
        format!("{} (mode {mode:04o}, user {uid}) {why}", path.display()),
    )
}

/// Modes for the owner alone.
const FOLDER: u32 = 0o700;
const FILE: u32 = 0o600;

/// Rights of the group, and of everybody else.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;

/// The bit by which a folder is one in which everybody makes files of his own, as `/tmp` is.
const STICKY: u32 = 0o1000;

/// The user to whom a system's own links belong.
const ROOT: u32 = 0;

/// The folder that an empty file system holds.
const LOST_AND_FOUND: &str = "lost+found";

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_made_is_for_its_owner_alone_and_what_is_laxer_is_tightened() {
        let home = tempfile::tempdir().unwrap();
        let (outer, inner) = (home.path().join("a"), home.path().join("a/b"));
        folder(&inner).unwrap();
        assert_eq!((mode(&outer), mode(&inner)), (0o700, 0o700));
        let path = inner.join("f");
        create(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        for lax in [0o644, 0o666, 0o640, 0o604] {
            set(&path, lax);
            file(&path).unwrap();
            assert_eq!(mode(&path), 0o600, "{lax:o}");
        }
        for lax in [0o755, 0o777, 0o750, 0o2770] {
            set(&inner, lax);
            folder(&inner).unwrap();
            assert_eq!(mode(&inner) & 0o777, 0o700, "{lax:o}");
        }
        file(&inner.join("none")).unwrap();
        create(&path).unwrap();
    }

    #[test]
    fn what_is_everybodys_is_not_taken_from_them() {
        let home = tempfile::tempdir().unwrap();
        let shared = home.path().join("shared");
        fs::create_dir(&shared).unwrap();
        set(&shared, 0o1777);
        let error = own_folder(&shared, "sign").unwrap_err();
        assert!(error.to_string().contains("inside of it"), "{error}");
        set(&shared, 0o755);
        fs::write(shared.join("other"), "").unwrap();
        let error = own_folder(&shared, "sign").unwrap_err();
        assert!(error.to_string().contains("chmod 700"), "{error}");
        assert_eq!(mode(&shared), 0o755);
        fs::write(shared.join("sign"), "").unwrap();
        own_folder(&shared, "sign").unwrap();
        assert_eq!(mode(&shared), 0o700);
        let fresh = home.path().join("fresh");
        fs::create_dir(&fresh).unwrap();
        fs::create_dir(fresh.join(LOST_AND_FOUND)).unwrap();
        set(&fresh, 0o755);
        own_folder(&fresh, "sign").unwrap();
        assert_eq!(mode(&fresh), 0o700);
    }

    #[test]
    fn links_are_followed_only_to_folders() {
        let home = tempfile::tempdir().unwrap();
        let (real, link) = (home.path().join("real"), home.path().join("link"));
        fs::create_dir(&real).unwrap();
        set(&real, 0o755);
        std::os::unix::fs::symlink(&real, &link).unwrap();
        folder(&link).unwrap();
        assert_eq!(mode(&real), 0o700);
        let (target, link) = (home.path().join("f"), home.path().join("l"));
        fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(file(&link).unwrap_err().to_string().contains("symbolic link"));
    }

    #[test]
    fn a_log_is_closed_to_others_and_stays_its_groups() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        let made = options().create(true).append(true).open(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        set(&path, 0o644);
        close_to_others(&made);
        assert_eq!(mode(&path), 0o640);
        // What is no file has no mode that would be ours to change.
        close_to_others(&File::open("/dev/null").unwrap());
    }

    #[test]
    fn exposures_are_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        fs::write(&path, "text").unwrap();
        for (bits, expected) in [
            (0o600, Exposure::None),
            (0o640, Exposure::Group),
            (0o644, Exposure::Readable),
            (0o666, Exposure::Writable),
        ] {
            set(&path, bits);
            assert_eq!(read(&path).unwrap(), ("text".to_owned(), expected), "{bits:o}");
        }
        let folder = home.path().join("open/inside");
        fs::create_dir_all(&folder).unwrap();
        set(&home.path().join("open"), 0o755);
        assert_eq!(open_parent(&folder), None);
        set(&home.path().join("open"), 0o777);
        assert!(open_parent(&folder).is_some_and(|parent| parent.ends_with("open")));
    }
}
