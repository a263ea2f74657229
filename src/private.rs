//! Private files and folders: only the user that runs the gateway may use them.
//!
//! Modes are set here and never left to the umask. A laxer mode is tightened whenever the file is opened, because
//! the file may have been made by an earlier version, restored from a backup, or opened up by hand.
//!
//! Modes of existing files are changed by name, without opening the file. A process that closes a file gives up
//! all of its locks on it, including SQLite's.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

/// The circle of users other than the owner who may use a file or folder, from the smallest to the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exposure {
    /// Nobody.
    None,
    /// Its group, where the file belongs to another user, who is presumed to have intended this.
    ForeignGroup,
    /// Its group, where the file belongs to the gateway's user.
    Group,
    /// Every user of the machine may read it.
    Readable,
    /// Every user of the machine may change it.
    Writable,
}

/// Returns the exposure of a file or folder.
#[must_use]
pub fn exposure(metadata: &Metadata) -> Exposure {
    let mode = metadata.mode();
    // The mode of a symbolic link means nothing: its target has a mode of its own.
    match (mode & 0o002 != 0, mode & 0o007 != 0, mode & 0o070 != 0, is_ours(metadata)) {
        (true, ..) => Exposure::Writable,
        (_, true, ..) => Exposure::Readable,
        (_, _, true, true) => Exposure::Group,
        (_, _, true, false) => Exposure::ForeignGroup,
        _ => Exposure::None,
    }
}

/// Makes a folder, and the folders above it, for the owner alone, or tightens an existing folder.
///
/// A folder of another owner, such as a volume of a container, is accepted unless everybody may write to it: the
/// files in it have modes of their own.
///
/// # Errors
/// Fails if the folder cannot be made, or is open and cannot be tightened. The error gives advice.
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

/// Does the same as [`folder`] for a folder that the gateway uses alone. If such a folder is open and holds other
/// things, but not the file `sign`, it is refused rather than closed to others, who may need it.
///
/// # Errors
/// Fails in the same cases as [`folder`], and if the folder is refused.
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

/// Makes an empty file for the owner alone, if there is none. If root makes it, it is given to the owner of the
/// folder, who has to use it afterwards.
///
/// # Errors
/// Fails if the file cannot be made.
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

/// Tightens a file, if it exists.
///
/// # Errors
/// Fails if the file is a symbolic link, or is open to everybody and cannot be tightened. The error gives advice.
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
        // Another process that no longer needs the file may have removed it.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(_) => {
            let why = "may be used by every user and belongs to another: let its owner `chmod o=` it, or give it to the \
                user that runs the gateway (chown)";
            Err(refused(path, &metadata, why))
        }
        Ok(()) => Ok(()),
    }
}

/// Returns the options with which a file is made for its owner alone.
#[must_use]
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE);
    options
}

/// Opens a file to which lines are added, and makes it if there is none. A pipe that nobody reads is not waited for.
///
/// # Errors
/// Fails if the file cannot be opened. The error names it.
pub fn log(path: &Path) -> io::Result<File> {
    let waits = OFlags::NONBLOCK.bits().cast_signed();
    let opened = options().create(true).append(true).custom_flags(waits).open(path);
    let file = opened.map_err(|error| {
        let why = match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::NXIO) => "nobody reads the pipe".to_owned(),
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("{} cannot be opened: {why}", path.display()))
    })?;
    close_to_others(&file);
    Ok(file)
}

/// Removes the rights of all others than the owner and the group from an open file, if it is the gateway's own and
/// not a device or pipe.
pub fn close_to_others(file: &File) {
    let Ok(metadata) = file.metadata() else { return };
    if metadata.is_file() && is_ours(&metadata) && metadata.mode() & OTHERS != 0 {
        // The file is open and usable even if its mode cannot be changed.
        let _ = file.set_permissions(Permissions::from_mode(metadata.mode() & 0o777 & !OTHERS));
    }
}

/// Reads a text file, and returns its exposure, too.
///
/// # Errors
/// Fails if the file cannot be read.
pub fn read(path: &Path) -> io::Result<(String, Exposure)> {
    let mut file = File::open(path)?;
    let exposure = exposure(&file.metadata()?);
    let mut text = String::new();
    io::Read::read_to_string(&mut file, &mut text)?;
    Ok((text, exposure))
}

/// Returns the folder that contains this one, if every user may replace its contents.
#[must_use]
pub fn open_parent(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let parent = path.parent()?;
    let mode = fs::metadata(parent).ok()?.mode();
    (mode & 0o002 != 0 && mode & STICKY == 0).then(|| parent.to_owned())
}

/// Removes all rights but the owner's from a file of the gateway's user. From a file of another user, removes only
/// the rights of those outside the group.
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

/// The rights of the group, and of all others.
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;

/// The sticky bit, which marks a folder in which everybody makes files of his own, such as `/tmp`.
const STICKY: u32 = 0o1000;

/// The user that owns the system's own links.
const ROOT: u32 = 0;

/// The folder that exists in an empty file system.
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

    #[test]
    fn a_pipe_that_nobody_reads_is_refused_and_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let error = log(&pipe).unwrap_err().to_string();
        assert_eq!(error, format!("{} cannot be opened: nobody reads the pipe", pipe.display()));
        let reader = File::options().read(true).write(true).open(&pipe).unwrap();
        assert!(log(&pipe).is_ok());
        drop(reader);
        let file = folder.path().join("file");
        io::Write::write_all(&mut log(&file).unwrap(), b"one\n").unwrap();
        io::Write::write_all(&mut log(&file).unwrap(), b"two\n").unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode(&file) & 0o777), ("one\ntwo\n", 0o600));
        assert!(log(folder.path()).unwrap_err().to_string().contains("cannot be opened"));
    }
}
