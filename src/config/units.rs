//! The units of numbers in the file, for messages about them.

/// Returns what the number at a path counts, with a valid one, if that is known: "of seconds, such as 30".
pub(super) fn unit(path: &str) -> Option<&'static str> {
    let (above, name) = path.rsplit_once('.').unwrap_or(("", path));
    let above = above.rsplit('.').next().unwrap_or_default();
    match (above, name) {
        ("prices", "threshold") => Some("of tokens, such as 200000"),
        ("prices", "web_search") => Some("of micro-USD for each search, such as 10000 for a cent"),
        ("prices", _) => Some("of micro-USD for a million tokens, such as 1250000 for 1.25 dollars"),
        ("rates", _) => Some("of hundredths, such as 200 for twice the price"),
        ("timeouts", _) | ("cors", "max_age") => Some("of seconds, such as 30"),
        _ if name.ends_with("_seconds") => Some("of seconds, such as 30"),
        _ if name.ends_with("bytes_per_second") => Some("of bytes for each second, such as 1024"),
        _ if name.ends_with("_bytes") => Some("of bytes, such as 1048576"),
        (_, "context_window" | "max_output") => Some("of tokens, such as 200000"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_from_names() {
        for (path, words) in [
            ("timeouts.connect", "of seconds"),
            ("providers.p.timeouts.first_byte", "of seconds"),
            ("limits.body_seconds", "of seconds"),
            ("limits.body_bytes", "of bytes, "),
            ("limits.body_bytes_per_second", "of bytes for each second"),
            ("models.prices.input", "of micro-USD for a million tokens"),
            ("models.targets.prices.rates.fast", "of hundredths"),
            ("models.max_output", "of tokens"),
        ] {
            assert!(unit(path).is_some_and(|unit| unit.starts_with(words)), "{path}");
        }
        assert_eq!([unit("threads"), unit("")], [None, None]);
    }
}
