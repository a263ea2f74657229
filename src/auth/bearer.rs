//! The scheme `Bearer` of the header `authorization` (RFC 6750).

/// Returns the token of `Bearer TOKEN`, or `None` for another scheme.
#[must_use]
pub fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_scheme_bearer_has_a_token() {
        for (text, token) in [
            ("Bearer t", Some("t")),
            ("bEaReR  t ", Some("t")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Basic t", None),
            ("Bearert", None),
            ("", None),
        ] {
            assert_eq!(bearer_token(text), token, "{text:?}");
        }
    }
}
