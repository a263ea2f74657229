//! What `crossmodel --version` prints.

use std::env::consts;
use std::sync::LazyLock;

/// The version, and on lines of their own the commit, the target and the features of this build.
pub(crate) fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| {
        let version = env!("CARGO_PKG_VERSION");
        format!("{version}\ncommit: {COMMIT}\ntarget: {}\nfeatures: {}", target(), features())
    });
    &LONG
}

/// The commit that the release script builds. A build by hand is of a tree that nobody knows.
const COMMIT: &str = match option_env!("CROSSMODEL_COMMIT") {
    Some(commit) if !commit.is_empty() => commit,
    _ => "unknown",
};

/// Returns the processor, the system and its C library.
fn target() -> String {
    let library = match () {
        () if cfg!(target_env = "gnu") => "-gnu",
        () if cfg!(target_env = "musl") => "-musl",
        () => "",
    };
    format!("{}-{}{library}", consts::ARCH, consts::OS)
}

/// Returns the names of the features that are on.
fn features() -> String {
    let all = [
        ("rustls", cfg!(feature = "rustls")),
        ("openssl", cfg!(feature = "openssl")),
        ("boringssl", cfg!(feature = "boringssl")),
        ("s2n", cfg!(feature = "s2n")),
        ("otel", cfg!(feature = "otel")),
    ];
    let on: Vec<_> = all.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect();
    on.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_feature_is_left_out() {
        let manifest = include_str!("../../Cargo.toml");
        let (_, below) = manifest.split_once("\n[features]\n").unwrap();
        let section = below.split("\n[").next().unwrap();
        let declared: Vec<_> = section.lines().filter_map(|line| line.split_once(" = ")).collect();
        assert!(declared.len() > 5, "{declared:?}");
        for (name, _) in declared.iter().filter(|(name, _)| *name != "default") {
            let row = format!("(\"{name}\", cfg!(feature = \"{name}\"))");
            assert!(include_str!("version.rs").contains(&row), "{name}");
        }
        assert!(features().contains("rustls") || cfg!(not(feature = "rustls")), "{}", features());
    }
}
