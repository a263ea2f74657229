//! The modes of a store's files at the start of a gateway.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::private::{self, Exposure, exposure};

use super::access;

/// The result of a look at a store's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ModeReview {
    /// The number of paths that were open to others, and are closed now.
    pub(super) tightened: usize,
    /// The first file of another owner, and that user.
    pub(super) foreign: Option<(PathBuf, u32)>,
}

/// Closes those of the paths to others that belong to this process's user.
pub(super) fn review(paths: impl Iterator<Item = PathBuf>) -> ModeReview {
    let mut review = ModeReview::default();
    for path in paths {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_symlink() {
            continue;
        }
        if metadata.uid() != access::user() {
            // A folder of another owner is a volume, and the files in it are the gateway's own all the same.
            if metadata.is_file() {
                review.foreign.get_or_insert_with(|| (path, metadata.uid()));
            }
        } else if exposure(&metadata) >= Exposure::Group {
            let tighten = if metadata.is_dir() { private::folder } else { private::file };
            review.tightened += usize::from(tighten(&path).is_ok());
        }
    }
    review
}

impl ModeReview {
    /// Writes the result to the gateway's own log: at most one line of each kind.
    pub(super) fn log(&self, folder: &Path) {
        if self.tightened > 0 {
            log::info!(
                "{}: {} files and folders were open to other users, and are closed to them now",
                folder.display(),
                self.tightened
            );
        }
        if let Some((path, owner)) = &self.foreign {
            let user = access::user();
            log::warn!(
                "{} belongs to uid {owner}, this process runs as uid {user}: its mode is left as it is",
                path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_what_is_open_is_tightened_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let paths =
            [make("open", 0o666), make("group", 0o640), make("own", 0o600), folder.path().join("none")];
        let found = review(paths.iter().cloned());
        assert_eq!(found, ModeReview { tightened: 2, foreign: None });
        assert!(paths.iter().take(3).all(|path| path.metadata().unwrap().mode() & 0o777 == 0o600));
        assert_eq!(review(paths.into_iter()).tightened, 0);
    }
}
