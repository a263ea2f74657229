//! The facts by which operators tell a call apart: its tags, and its end user.

use std::sync::Arc;

use http::HeaderMap;

use crate::auth::{Grant, MAX_TAG_COUNT, NameKey, Tag, Tags};
use crate::config::TagRules;
use crate::json;
use crate::observe::EndUserDetail;

/// The tags of a call, and the end user for whom it is made.
#[derive(Debug, Default)]
pub(in crate::edge) struct CallTags {
    /// The tags of the account and the key, then those of the caller.
    pub(in crate::edge) list: Tags,
    /// The caller's tags that were dropped, as the client reads them; empty: none.
    pub(in crate::edge) dropped: String,
    /// The end user, as the access line tells.
    pub(in crate::edge) user: Option<String>,
}

/// The settings for what is read of bodies.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct BodyRules<'r> {
    pub(in crate::edge) tags: &'r TagRules,
    pub(in crate::edge) user: EndUserDetail,
    /// The key that turns users into names.
    pub(in crate::edge) names: &'r NameKey,
}

impl CallTags {
    /// Returns the tags of a key, and those in the headers of its request.
    pub(in crate::edge) fn of(grant: &Grant, headers: &HeaderMap) -> Self {
        let mut own = Self { list: grant.tags.clone(), ..Self::default() };
        // Nearly all requests have none.
        if headers.contains_key(HEADER) {
            own.add_headers(headers);
        }
        own
    }

    fn add_headers(&mut self, headers: &HeaderMap) {
        let all: Vec<_> = headers.get_all(HEADER).iter().collect();
        if all.iter().map(|value| value.len()).sum::<usize>() > MAX_HEADER_BYTES {
            return self.note_dropped(HEADER);
        }
        let texts = all.into_iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
        let parts = texts.map(<[u8]>::trim_ascii).filter(|part| !part.is_empty());
        for (number, part) in parts.enumerate() {
            let text = std::str::from_utf8(part).unwrap_or_default();
            let tag =
                text.split_once('=').and_then(|(name, value)| Tag::new(name.trim_end(), value.trim_start()));
            match tag {
                Some(tag) => self.add(tag),
                None => self.note_dropped(&format!("{HEADER}[{number}]")),
            }
        }
    }

    /// Adds what the rules say of the members of a body.
    pub(in crate::edge) fn add_body(&mut self, rules: BodyRules<'_>, body: &[u8]) {
        if rules.tags.from_metadata.is_empty() && rules.user == EndUserDetail::Off {
            return;
        }
        let metadata = json::find_member(body, "metadata").map(|member| member.value);
        let metadata = metadata.unwrap_or_default();
        for name in &rules.tags.from_metadata {
            let Some(member) = json::find_member(metadata, name) else { continue };
            match text(member.value).and_then(|value| Tag::new(name, &value)) {
                Some(tag) => self.add(tag),
                None => self.note_dropped(&format!("tags.{name}")),
            }
        }
        if rules.user != EndUserDetail::Off {
            self.user = end_user(body, metadata).and_then(|user| shown(rules, &user));
        }
    }

    /// Adds a tag of the caller, unless there is one of its name. Those of account and key come first.
    fn add(&mut self, tag: Tag) {
        let known = self.list.as_deref().unwrap_or_default();
        if known.iter().any(|other| other.name == tag.name) {
            return;
        }
        if known.len() >= MAX_TAG_COUNT {
            return self.note_dropped(&format!("tags.{}", tag.name));
        }
        let list: Arc<[Tag]> = known.iter().cloned().chain([tag]).collect();
        self.list = Some(list);
    }

    fn note_dropped(&mut self, what: &str) {
        if self.dropped.len() < MAX_NOTICE_BYTES {
            let separator = if self.dropped.is_empty() { "" } else { ", " };
            self.dropped.extend([separator, what]);
        }
    }
}

/// Returns the end user that a body names.
fn end_user(body: &[u8], metadata: &[u8]) -> Option<String> {
    let members = [(body, "safety_identifier"), (body, "user"), (metadata, "user_id")];
    members.into_iter().find_map(|(object, name)| text(json::find_member(object, name)?.value))
}

/// Returns the form of an end user in access lines.
fn shown(BodyRules { user: detail, names, .. }: BodyRules<'_>, user: &str) -> Option<String> {
    match detail {
        EndUserDetail::Off => None,
        EndUserDetail::Hash => {
            let name = names.name(&[user.as_bytes()]);
            Some(name.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect())
        }
        EndUserDetail::Plain if crate::auth::contains_secret(user) => None,
        EndUserDetail::Plain => Some(user.chars().take(MAX_USER_CHARS).collect()),
    }
}

/// Returns the text of a JSON string that is not empty.
fn text(json: &[u8]) -> Option<String> {
    serde_json::from_slice::<String>(json).ok().filter(|text| !text.is_empty())
}

/// The header with the caller's tags.
const HEADER: &str = "x-crossmodel-tags";

/// The most bytes of the header.
const MAX_HEADER_BYTES: usize = 512;

/// The bytes from which on no further dropped tag is named.
const MAX_NOTICE_BYTES: usize = 256;

/// The most characters of a user in access lines.
const MAX_USER_CHARS: usize = 200;

/// The bytes of a user's name that access lines have, as two digits each.
const HASH_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::auth::{Key, SharedSecret};

    fn grant(tags: &[(&str, &str)]) -> Grant {
        let tags: Arc<[Tag]> = tags.iter().map(|(name, value)| Tag::new(name, value).unwrap()).collect();
        Arc::new(Key { tags: Some(tags).filter(|tags| !tags.is_empty()), ..Key::sample("key_1", "a") })
    }

    fn shown(tags: &CallTags) -> (String, &str) {
        let all = tags.list.iter().flat_map(|tags| tags.iter());
        let all: Vec<_> = all.map(|tag| format!("{}={}", tag.name, tag.value)).collect();
        (all.join(" "), &tags.dropped)
    }

    fn of_header(own: &[(&str, &str)], headers: &[&str]) -> (String, String) {
        let mut map = HeaderMap::new();
        for text in headers {
            map.append(HEADER, HeaderValue::from_bytes(text.as_bytes()).unwrap());
        }
        let tags = CallTags::of(&grant(own), &map);
        let (list, dropped) = shown(&tags);
        (list, dropped.to_owned())
    }

    #[test]
    fn tags_come_from_the_key_and_from_the_header() {
        let told = |list: &str, dropped: &str| (list.to_owned(), dropped.to_owned());
        assert_eq!(of_header(&[], &[]), told("", ""));
        assert_eq!(
            of_header(&[("team", "a")], &["team=b, env=prod,, feature = chat "]),
            told("team=a env=prod feature=chat", "")
        );
        assert_eq!(of_header(&[], &["a=1", "b=2"]), told("a=1 b=2", ""));
        let bad = of_header(&[], &["Env=x, ok=1, novalue, n=a b, m=\u{e9}"]);
        assert_eq!(
            bad,
            told(
                "ok=1",
                "x-crossmodel-tags[0], x-crossmodel-tags[2], x-crossmodel-tags[3], x-crossmodel-tags[4]"
            )
        );
        let many: Vec<_> = (0..10).map(|n| format!("t{n}=v")).collect();
        let (list, dropped) = of_header(&[("own", "1")], &[&many.join(",")]);
        assert_eq!((list.split(' ').count(), &*dropped), (8, "tags.t7, tags.t8, tags.t9"));
        assert_eq!(of_header(&[("own", "1")], &[&"a=b,".repeat(129)]), told("own=1", "x-crossmodel-tags"));
        let (_, dropped) = of_header(&[], &[&"=,".repeat(256)]);
        assert!(dropped.len() < 300, "{dropped}");
    }

    #[test]
    fn only_named_members_of_metadata_are_tags() {
        let rules = TagRules { from_metadata: vec!["team".to_owned(), "project".to_owned()] };
        let names = SharedSecret::new([1; 32]).names("x");
        let read = |rules: &TagRules, user, body: &str| {
            let mut tags = CallTags::of(&grant(&[("team", "own")]), &HeaderMap::new());
            tags.add_body(BodyRules { tags: rules, user, names: &names }, body.as_bytes());
            let (list, dropped) = shown(&tags);
            (list, dropped.to_owned(), tags.user)
        };
        let body = r#"{"model":"m","metadata":{"team":"b","project":"p\u0041","secret":"s","user_id":"u-1"},"user":"u-2"}"#;
        let off = read(&rules, EndUserDetail::Off, body);
        assert_eq!(off, ("team=own project=pA".to_owned(), String::new(), None));
        let none = read(&TagRules::default(), EndUserDetail::Off, body);
        assert_eq!(none.0, "team=own", "nothing is read that is not named");
        let wrong = read(&rules, EndUserDetail::Plain, r#"{"metadata":{"project":{"x":1},"user_id":"u-1"}}"#);
        assert_eq!(wrong, ("team=own".to_owned(), "tags.project".to_owned(), Some("u-1".to_owned())));
        let plain = |body: &str| read(&rules, EndUserDetail::Plain, body).2;
        assert_eq!(plain(body).as_deref(), Some("u-2"));
        assert_eq!(plain(r#"{"safety_identifier":"s","user":"u"}"#).as_deref(), Some("s"));
        assert_eq!(plain(r#"{"user":7}"#), None);
        assert_eq!(plain("no json"), None);
        assert_eq!(plain(&format!(r#"{{"user":"cm-{}"}}"#, "a".repeat(40))), None, "a secret is no user");
        let hash = read(&rules, EndUserDetail::Hash, body).2.unwrap();
        assert_eq!((hash.len(), hash.bytes().all(|byte| byte.is_ascii_hexdigit())), (16, true));
        assert_eq!(Some(hash), read(&rules, EndUserDetail::Hash, r#"{"user":"u-2"}"#).2);
    }
}
