//! The time after which a provider asks for a retry, in all the forms that it may have.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::{self, HeaderValue};

/// Returns the seconds after which the provider asks for a retry: a number, which is rounded up, or the time until a
/// date, which is at least one second.
pub(in crate::edge) fn seconds(upstream: &HeaderMap, now: SystemTime) -> Option<u64> {
    let text = |value: &HeaderValue| Some(value.to_str().ok()?.trim().to_owned());
    let standard = upstream.get(header::RETRY_AFTER).and_then(text);
    let standard = standard.and_then(|text| rounded_up(&text).or_else(|| until(&text, now)));
    let milliseconds = || rounded_up(&upstream.get("retry-after-ms").and_then(text)?);
    standard.or_else(|| milliseconds().map(|ms| ms.div_ceil(1000)))
}

/// Reads a number with or without decimals.
fn rounded_up(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number =
        !whole.is_empty() && whole.bytes().chain(decimals.bytes()).all(|byte| byte.is_ascii_digit());
    let whole: u64 = is_number.then(|| whole.parse().ok())??;
    Some(whole.saturating_add(u64::from(decimals.bytes().any(|digit| digit != b'0'))))
}

fn until(date: &str, now: SystemTime) -> Option<u64> {
    let date = httpdate::parse_http_date(date).ok()?;
    let left = date.duration_since(now).unwrap_or_default();
    Some(left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0)).max(1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;

    use super::*;

    fn asked(name: &'static str, value: &str) -> Option<u64> {
        // 1994-11-06 08:49:37 UTC, less half a second.
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_776_500);
        let value = HeaderValue::from_str(value).unwrap();
        seconds(&[(HeaderName::from_static(name), value)].into_iter().collect(), now)
    }

    #[test]
    fn numbers_are_rounded_up_and_dates_are_counted_from_now() {
        for (value, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("7.5", Some(8)),
            ("7.000", Some(7)),
            ("0.001", Some(1)),
            ("7.", Some(7)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(121)),
            ("Sunday, 06-Nov-94 08:51:37 GMT", Some(121)),
            ("Sun Nov  6 08:51:37 1994", Some(121)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(1)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(1)),
            ("soon", None),
            ("-1", None),
            ("1e3", None),
            ("inf", None),
            (".5", None),
            ("99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(asked("retry-after", value), expected, "{value}");
        }
        assert_eq!(asked("retry-after-ms", "2500"), Some(3));
        assert_eq!(asked("retry-after-ms", "2000.5"), Some(3));
        assert_eq!(asked("retry-after-ms", "x"), None);
    }
}
