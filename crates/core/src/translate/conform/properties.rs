//! Arguments of calls under other names of properties.

use std::borrow::Cow;

use crate::canon::{Args, Part, PropertyNames, RenamedProperties, Turn};
use crate::json::{self, Malformed, Raw, Walk, write};

/// Renames the properties in the arguments of earlier calls like those of the tools.
pub(super) fn rename_history(turns: &mut [Turn<'_>], names: &PropertyNames) {
    if names.is_empty() {
        return;
    }
    for part in turns.iter_mut().flat_map(|turn| &mut turn.parts) {
        let Part::Call(call) = part else { continue };
        let Some(renamed) = names.of(call.namespace.as_deref(), &call.name).filter(|_| !call.custom) else {
            continue;
        };
        let text = match &call.args {
            Args::Str(text) => text.decode(),
            Args::Raw(json) => Cow::Borrowed(json.get()),
        };
        if let Some(args) = rename(&text, renamed) {
            call.args = Args::Raw(args);
        }
    }
}

/// Returns arguments under the provider's names; `None` if they are the same, or no JSON.
fn rename(args: &str, renamed: &RenamedProperties) -> Option<Raw<'static>> {
    let (mut out, mut is_changed) = (Vec::with_capacity(args.len()), false);
    value(&mut Walk::new(args.as_bytes()), renamed, 0, &mut out, &mut is_changed).ok()?;
    String::from_utf8(out).ok().filter(|_| is_changed).and_then(Raw::read_owned)
}

fn value(
    walk: &mut Walk<'_>,
    renamed: &RenamedProperties,
    depth: usize,
    out: &mut Vec<u8>,
    is_changed: &mut bool,
) -> Result<(), Malformed> {
    let mut is_first = true;
    match walk.peek() {
        Some(b'{') if depth < MAX_DEPTH => {
            walk.enter();
            out.push(b'{');
            while let Some(key) = walk.key(&mut is_first)? {
                if out.last() != Some(&b'{') {
                    out.push(b',');
                }
                let literal = [b"\"", key, b"\""].concat();
                let name = json::text(&literal).unwrap_or_default();
                match renamed.upstream(&name) {
                    Cow::Owned(new) => {
                        *is_changed = true;
                        out.extend_from_slice(write::literal(&new).as_bytes());
                    }
                    Cow::Borrowed(_) => out.extend_from_slice(&literal),
                }
                out.push(b':');
                value(walk, renamed, depth + 1, out, is_changed)?;
            }
            out.push(b'}');
        }
        Some(b'[') if depth < MAX_DEPTH => {
            walk.enter();
            out.push(b'[');
            while walk.item(&mut is_first)? {
                if out.last() != Some(&b'[') {
                    out.push(b',');
                }
                value(walk, renamed, depth + 1, out, is_changed)?;
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(walk.skip()?),
    }
    Ok(())
}

/// Maximum depth at which properties are renamed.
const MAX_DEPTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_change_at_any_depth_and_values_do_not() {
        let mut renamed = RenamedProperties::default();
        let top = renamed.rename("$top").into_owned();
        let args = r#"{"$top": 1, "a": [ {"$top":"$top","$skip":"\n"} ], "b": {}}"#;
        let expected = format!(r#"{{"{top}":1,"a":[{{"{top}":"$top","$skip":"\n"}}],"b":{{}}}}"#);
        assert_eq!(rename(args, &renamed).unwrap().get(), expected);
        assert!(rename(r#"{"a":{"$skip":"$top"}}"#, &renamed).is_none());
        assert!(rename(r#"{"$top":"#, &renamed).is_none());
    }
}
