//! The users whom files belong to.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::geteuid;

/// Returns the number of the user of this process.
pub(super) fn user() -> u32 {
    geteuid().as_raw()
}

/// Whether a user can reach a folder by its path, apart from access lists.
#[must_use]
pub fn is_reachable(folder: &Path, uid: u32, gid: u32) -> bool {
    let Ok(path) = folder.canonicalize() else { return false };
    path.ancestors().all(|folder| {
        fs::metadata(folder).is_ok_and(|metadata| {
            let bit = match (metadata.uid() == uid, metadata.gid() == gid) {
                (true, _) => 0o100,
                (_, true) => 0o010,
                _ => 0o001,
            };
            metadata.mode() & bit != 0
        })
    })
}

/// Returns the first of the paths that belongs to another user and cannot be used, and that user. Paths that do not exist,
/// or cannot be seen, are passed over.
pub(super) fn foreign(mut paths: impl Iterator<Item = PathBuf>) -> Option<(PathBuf, u32)> {
    paths.find_map(|path| {
        let uid = fs::metadata(&path).ok()?.uid();
        let is_usable = access(&path, Access::READ_OK | Access::WRITE_OK).is_ok();
        (uid != user() && !is_usable).then_some((path, uid))
    })
}

/// Returns an error that names its path. Errors with advice name it already.
pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    let (text, path) = (error.to_string(), path.display().to_string());
    let text = if text.contains(&path) { text } else { format!("{path}: {text}") };
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_is_reached_by_those_who_may_pass_all_above_it() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("data");
        fs::create_dir(&folder).unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (uid, gid) = (user(), fs::metadata(home.path()).unwrap().gid());
        for (above, mode, expected) in [
            (0o711, 0o711, [true, true, true]),
            (0o700, 0o711, [true, false, false]),
            (0o711, 0o710, [true, true, false]),
        ] {
            set(home.path(), above);
            set(&folder, mode);
            let reach = |uid, gid| is_reachable(&folder, uid, gid);
            assert_eq!(
                [reach(uid, gid), reach(uid + 1, gid), reach(uid + 1, gid + 1)],
                expected,
                "{above:o} {mode:o}"
            );
        }
        set(home.path(), 0o700);
        assert!(!is_reachable(&home.path().join("none"), uid, gid));
    }

    #[test]
    fn an_error_names_its_path_once() {
        let name = |text: &str| named(Path::new("/a/b"), &io::Error::other(text)).to_string();
        assert_eq!(name("is full"), "/a/b: is full");
        assert_eq!(name("/a/b/c is full"), "/a/b/c is full");
    }
}
