//! The schemas of tools in the form that a provider accepts.

use std::borrow::Cow;

use crate::canon::{Losses, PropertyNames, RenamedProperties, SchemaDialect, Tool, ToolKind};
use crate::failure::Result;
use crate::json::{self, JsonStr, Malformed, Path, Raw, Walk, write};

use super::flatten::flatten;

/// Rewrites the schemas of tools that the provider would refuse. Returns the properties that got other names.
///
/// # Errors
/// Returns 400 in strict mode if a schema loses something.
pub(super) fn adapt(
    tools: &mut [Tool<'_>],
    dialect: SchemaDialect,
    losses: &mut Losses,
) -> Result<PropertyNames> {
    let mut names = PropertyNames::default();
    if dialect == SchemaDialect::Any {
        return Ok(names);
    }
    let is_named = dialect == SchemaDialect::Named;
    let mut out = Vec::new();
    for (index, tool) in tools.iter_mut().enumerate() {
        let ToolKind::Function { schema: Some(schema), .. } = &mut tool.kind else { continue };
        if let Some(flat) = is_named.then(|| flatten(schema.get())).flatten() {
            for union in &flat.unions {
                losses.drop(&Path::ROOT.key("tools").index(index).key("parameters").key(union))?;
            }
            tool.description = Some(explained(tool.description.as_ref(), &flat.explanation));
            *schema = flat.schema;
        }
        out.clear();
        let mut rewriter = SchemaRewriter::new(&mut out, is_named);
        let rewritten = rewriter.root(&mut Walk::new(schema.get().as_bytes()));
        let (is_changed, renamed) = (rewriter.is_changed, rewriter.renamed);
        if rewritten.is_ok()
            && is_changed
            && let Some(new) = String::from_utf8(out.clone()).ok().and_then(Raw::read_owned)
        {
            *schema = new;
            names.keep(tool.namespace.as_deref(), &tool.name, renamed);
        }
    }
    Ok(names)
}

/// Returns the description of a tool, with the rules of its input that have no other place.
fn explained(description: Option<&JsonStr<'_>>, rules: &str) -> JsonStr<'static> {
    let rules = JsonStr::of(&format!("The input must also match this JSON schema: {rules}"));
    match description.filter(|text| !text.is_empty()) {
        Some(text) => JsonStr::concat(&[text, &JsonStr::PARAGRAPH, &rules]),
        None => rules,
    }
}

/// The rewriting of one schema, in one pass.
struct SchemaRewriter<'o> {
    out: &'o mut Vec<u8>,
    /// Whether names of properties have a fixed form.
    is_named: bool,
    /// Whether the copy differs from the schema in more than white space.
    is_changed: bool,
    renamed: RenamedProperties,
}

/// The keywords of one schema that decide what it lacks.
#[derive(Default)]
struct KeywordsSeen {
    kind: bool,
    object: bool,
    array: bool,
    properties: bool,
    items: bool,
}

impl<'o> SchemaRewriter<'o> {
    fn new(out: &'o mut Vec<u8>, is_named: bool) -> Self {
        Self { out, is_named, is_changed: false, renamed: RenamedProperties::default() }
    }

    /// Copies the schema of a tool's input, which describes an object.
    fn root(&mut self, walk: &mut Walk<'_>) -> std::result::Result<(), Malformed> {
        if walk.peek() != Some(b'{') {
            return self.copy(walk);
        }
        let seen = self.keywords(walk)?;
        if !seen.kind && self.out.len() > EMPTY_OBJECT_LEN {
            self.out.pop();
            self.out.extend_from_slice(br#","type":"object""#);
            if !seen.properties {
                self.out.extend_from_slice(br#","properties":{}"#);
            }
            self.out.push(b'}');
            self.is_changed = true;
        }
        Ok(())
    }

    /// Copies a schema, or a value that stands in the place of one.
    fn schema(&mut self, walk: &mut Walk<'_>) -> std::result::Result<(), Malformed> {
        match walk.peek() {
            Some(b'{') => self.keywords(walk).map(drop),
            _ => self.copy(walk),
        }
    }

    fn keywords(&mut self, walk: &mut Walk<'_>) -> std::result::Result<KeywordsSeen, Malformed> {
        let (mut seen, mut is_first) = (KeywordsSeen::default(), true);
        let mut members = Members::open(self.out);
        walk.enter();
        while let Some(key) = walk.key(&mut is_first)? {
            if walk.peek() == Some(b'n') && !VALUES.contains(&key) {
                walk.skip()?;
                self.is_changed = true;
                continue;
            }
            members.key(self.out, key);
            self.keyword(key, walk, &mut seen)?;
        }
        for (lacks, member) in
            [(seen.object && !seen.properties, "properties"), (seen.array && !seen.items, "items")]
        {
            if lacks {
                members.key(self.out, member.as_bytes());
                self.out.extend_from_slice(b"{}");
                self.is_changed = true;
            }
        }
        self.out.push(b'}');
        Ok(seen)
    }

    fn keyword(
        &mut self,
        key: &[u8],
        walk: &mut Walk<'_>,
        seen: &mut KeywordsSeen,
    ) -> std::result::Result<(), Malformed> {
        match key {
            b"type" => {
                let kind = walk.skip()?;
                seen.kind = true;
                seen.object = kind == b"\"object\"";
                seen.array = kind == b"\"array\"";
                self.out.extend_from_slice(kind);
                Ok(())
            }
            b"properties" => {
                seen.properties = true;
                self.named(walk, self.is_named)
            }
            b"required" if self.is_named => self.required(walk),
            b"$defs" | b"definitions" | b"patternProperties" | b"dependentSchemas" => self.named(walk, false),
            b"items" | b"prefixItems" => {
                seen.items = true;
                self.schemas(walk)
            }
            b"anyOf" | b"oneOf" | b"allOf" => self.schemas(walk),
            b"additionalProperties"
            | b"additionalItems"
            | b"unevaluatedProperties"
            | b"unevaluatedItems"
            | b"contains"
            | b"not"
            | b"if"
            | b"then"
            | b"else" => self.schema(walk),
            _ => self.copy(walk),
        }
    }

    /// Copies schemas by name. With `renames`, the names get the form that the provider accepts.
    fn named(&mut self, walk: &mut Walk<'_>, renames: bool) -> std::result::Result<(), Malformed> {
        if walk.peek() != Some(b'{') {
            return self.copy(walk);
        }
        let (mut members, mut is_first) = (Members::open(self.out), true);
        walk.enter();
        while let Some(key) = walk.key(&mut is_first)? {
            match renames.then(|| self.renamed_literal(key)).flatten() {
                Some(name) => members.literal(self.out, &name),
                None => members.key(self.out, key),
            }
            self.schema(walk)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Copies a schema, or a list of schemas.
    fn schemas(&mut self, walk: &mut Walk<'_>) -> std::result::Result<(), Malformed> {
        self.list(walk, Self::schema)
    }

    /// Copies the list of required properties.
    fn required(&mut self, walk: &mut Walk<'_>) -> std::result::Result<(), Malformed> {
        self.list(walk, |this, walk| {
            let value = walk.skip()?;
            let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            match inner.and_then(|name| this.renamed_literal(name)) {
                Some(name) => this.out.extend_from_slice(name.as_bytes()),
                None => this.out.extend_from_slice(value),
            }
            Ok(())
        })
    }

    fn list(
        &mut self,
        walk: &mut Walk<'_>,
        item: impl Fn(&mut Self, &mut Walk<'_>) -> std::result::Result<(), Malformed>,
    ) -> std::result::Result<(), Malformed> {
        if walk.peek() != Some(b'[') {
            return self.schema(walk);
        }
        let mut is_first = true;
        walk.enter();
        self.out.push(b'[');
        while walk.item(&mut is_first)? {
            if self.out.last() != Some(&b'[') {
                self.out.push(b',');
            }
            item(self, walk)?;
        }
        self.out.push(b']');
        Ok(())
    }

    /// Returns the literal of another name for a property, unless its own fits.
    fn renamed_literal(&mut self, key: &[u8]) -> Option<String> {
        let literal = [b"\"", key, b"\""].concat();
        let name = json::text(&literal)?;
        match self.renamed.rename(&name) {
            Cow::Owned(new) => {
                self.is_changed = true;
                Some(write::literal(&new))
            }
            Cow::Borrowed(_) => None,
        }
    }

    fn copy(&mut self, walk: &mut Walk<'_>) -> std::result::Result<(), Malformed> {
        self.out.extend_from_slice(walk.skip()?);
        Ok(())
    }
}

/// The commas between the members of an object.
struct Members {
    is_first: bool,
}

impl Members {
    /// Begins an object.
    fn open(out: &mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { is_first: true }
    }

    /// Writes a key that is spelled like this between its quotes.
    fn key(&mut self, out: &mut Vec<u8>, key: &[u8]) {
        self.comma(out);
        out.push(b'"');
        out.extend_from_slice(key);
        out.extend_from_slice(b"\":");
    }

    /// Writes a key with its quotes.
    fn literal(&mut self, out: &mut Vec<u8>, key: &str) {
        self.comma(out);
        out.extend_from_slice(key.as_bytes());
        out.push(b':');
    }

    fn comma(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_first, false) {
            out.push(b',');
        }
    }
}

/// Keywords whose values may be null.
const VALUES: [&[u8]; 4] = [b"const", b"default", b"example", b"examples"];

/// Length of an object without members, in bytes.
const EMPTY_OBJECT_LEN: usize = 2;

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
