//! The architecture, held against the sources: imports only go down, and files stay readable.

#![expect(clippy::unwrap_used, clippy::string_slice, reason = "these are tests")]

mod circles;

use std::fs;
use std::path::{Path, PathBuf};

/// Each module, and those that it may import; it may always import itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("failure", &[]),
    ("located", &[]),
    ("guide", &[]),
    ("private", &[]),
    ("repeated", &[]),
    ("json", &[]),
    ("sse", &[]),
    ("demo", &[]),
    ("canon", &["failure", "json"]),
    ("protocol", &["canon", "failure", "json", "sse"]),
    ("provider", &["canon", "located", "protocol"]),
    ("money", &[]),
    ("store", &["money", "private"]),
    ("auth", &["failure", "money", "repeated", "store"]),
    ("limit", &["auth", "failure"]),
    ("notify", &["store"]),
    ("meter", &["auth", "canon", "money", "notify", "private", "repeated", "store"]),
    ("observe", &["auth", "canon", "limit", "meter", "money", "private", "repeated", "store"]),
    (
        "route",
        &[
            "auth", "canon", "failure", "json", "located", "meter", "observe", "protocol", "provider",
            "repeated",
        ],
    ),
    ("translate", &["canon", "failure", "json", "protocol", "sse"]),
    (
        "config",
        &[
            "auth", "demo", "located", "meter", "money", "notify", "observe", "private", "protocol",
            "provider", "route",
        ],
    ),
    ("admin", &["auth", "config", "meter", "money", "observe", "repeated", "route", "store"]),
    ("console", &["admin", "auth", "config", "limit", "meter", "money", "observe", "repeated", "route"]),
    (
        "edge",
        &[
            "admin",
            "auth",
            "canon",
            "config",
            "console",
            "demo",
            "failure",
            "json",
            "limit",
            "meter",
            "notify",
            "observe",
            "private",
            "protocol",
            "provider",
            "repeated",
            "route",
            "store",
            "translate",
        ],
    ),
    ("cli", &[]),
    ("main", &[]),
    ("lib", &[]),
];

/// The crate of the lower modules. The gateway imports them as its own.
const CORE: &str = "crates/core";

/// The sources of both crates.
const SOURCES: [&str; 2] = ["src", "crates/core/src"];

/// The sources of both crates, their tests and their benchmarks.
const ALL: [&str; 6] =
    ["src", "tests", "benches", "crates/core/src", "crates/core/tests", "crates/core/benches"];

/// Protocols never know of each other.
const SIBLINGS: [&str; 4] = ["chat", "responses", "messages", "gemini"];

/// Where Pingora may be used.
const ON_PINGORA: [&str; 3] = ["edge", "main", "cli"];

/// Where bytes are borrowed and never parsed into a tree.
const WITHOUT_TREES: [&str; 3] = ["protocol", "translate", "canon"];

/// The folders of the edge: each may import those before it.
const EDGE: [&str; 8] = ["wire", "upstream", "call", "request", "respond", "gateway", "accept", "server"];

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 100;

/// One file: where it stands, and its text without comments and without what is inside strings.
struct Source {
    path: PathBuf,
    text: String,
    code: String,
}

impl Source {
    fn read(path: PathBuf, root: &Path) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let code = blanked(&text);
        Self { path: path.strip_prefix(root).unwrap().to_owned(), text, code }
    }

    /// A file that is not there.
    fn of(path: &str, text: &str) -> Self {
        Self { path: PathBuf::from(path), text: text.to_owned(), code: blanked(text) }
    }

    /// The path below its crate's folder.
    fn within(&self) -> &Path {
        self.path.strip_prefix(CORE).unwrap_or(&self.path)
    }

    /// The module below the crate's root.
    fn module(&self) -> String {
        let first = self.within().iter().nth(1).unwrap().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// The protocol whose folder this is in.
    fn protocol(&self) -> Option<&'static str> {
        let folder = self.within().iter().nth(2)?;
        SIBLINGS.into_iter().find(|name| self.module() == "protocol" && folder == *name)
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(Source::read(path, root));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!files.is_empty());
    files
}

/// Blanks comments and the insides of strings; lines stay where they are.
fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let (end, keep) = token(&chars, at);
        for (n, &c) in chars[at..end].iter().enumerate() {
            let edge = n < keep || n + keep >= end - at;
            out.push(if c == '\n' || edge { c } else { ' ' });
        }
        at = end;
    }
    out
}

/// Where the token at `at` ends, and how many characters of both of its ends are code.
fn token(chars: &[char], at: usize) -> (usize, usize) {
    let rest = &chars[at..];
    let find = |from: usize, what: &[char]| {
        let found = rest[from..].windows(what.len()).position(|window| window == what);
        at + found.map_or(rest.len(), |hit| from + hit + what.len())
    };
    match rest {
        ['/', '/', ..] => (find(2, &['\n']), 0),
        ['/', '*', ..] => (find(2, &['*', '/']), 0),
        ['"', ..] => (at + string(rest), 1),
        ['r', '"' | '#', ..] if at == 0 || !is_word(chars[at - 1]) || chars[at - 1] == 'b' => {
            let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
            match rest.get(1 + hashes) {
                Some('"') => {
                    let close: Vec<_> =
                        std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    (find(hashes + 2, &close), 1)
                }
                _ => (at + 1, 1),
            }
        }
        ['\'', '\\', ..] => (find(3, &['\'']), 1),
        ['\'', _, '\'', ..] => (at + 3, 1),
        _ => (at + 1, 1),
    }
}

/// The length of the string literal that `rest` begins with.
fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while let Some(c) = rest.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The names that directly follow `prefix`, with the lines they stand in; `a::{b, c::d}` names b and c.
fn names_after(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let line = code[..at].lines().count().max(1);
        let rest = &code[at + prefix.len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => first_level(group),
            None => vec![rest.chars().take_while(|c| is_word(*c)).collect()],
        };
        found.extend(names.into_iter().filter(|name| !name.is_empty()).map(|name| (line, name)));
    }
    found
}

fn first_level(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = vec![String::new()];
    let mut path = false;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(String::new());
                path = false;
            }
            ':' => path = true,
            c if is_word(c) && depth == 0 && !path => names.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    names
}

/// What is wrong with the imports of one file.
fn wrong_imports(source: &Source) -> Vec<String> {
    let module = source.module();
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{}: the module {module} is in no layer", source.path.display())];
    };
    let wrong = |line: &usize, what: &str| format!("{}:{line}: {what}", source.path.display());
    let mut faults = Vec::new();
    for (line, name) in names_after(&source.code, "crate::") {
        let is_module = LAYERS.iter().any(|(module, _)| *module == name);
        if is_module && name != module && !allowed.contains(&name.as_str()) && module != "lib" {
            faults.push(wrong(&line, &format!("{module} imports {name}")));
        }
    }
    if !ON_PINGORA.contains(&module.as_str()) {
        for prefix in ["pingora::", "pingora_proxy::", "pingora_core::"] {
            let all = names_after(&source.code, prefix);
            faults.extend(all.iter().map(|(line, _)| wrong(line, "uses Pingora")));
        }
    }
    if WITHOUT_TREES.contains(&module.as_str()) {
        let trees = names_after(&source.code, "serde_json::");
        let trees = trees.iter().filter(|(_, name)| name == "Value");
        faults.extend(trees.map(|(line, _)| wrong(line, "uses serde_json::Value")));
    }
    if let Some(own) = source.protocol() {
        for prefix in ["protocol::", "super::"] {
            let names = names_after(&source.code, prefix);
            let others = names.iter().filter(|(_, name)| name != own && SIBLINGS.contains(&name.as_str()));
            faults.extend(others.map(|(line, name)| wrong(line, &format!("{own} imports {name}"))));
        }
    }
    faults
}

/// Lists the wrong imports of one file between the folders of the edge.
fn wrong_folders(source: &Source) -> Vec<String> {
    let folder = source.path.strip_prefix("src/edge").ok().and_then(|path| path.iter().next());
    let place = |name: &str| EDGE.iter().position(|folder| *folder == name);
    let Some(own) = folder.and_then(|folder| place(&folder.to_string_lossy())) else { return Vec::new() };
    let code = circles::without_tests(&source.code);
    // The edge is two levels above a file of a folder, and one above the folder itself.
    let above = if source.path.ends_with("mod.rs") { "super::" } else { "super::super::" };
    let imports = ["crate::edge::", above].into_iter().flat_map(|prefix| names_after(&code, prefix));
    let upward = imports.filter(|(_, name)| place(name).is_some_and(|other| other > own));
    upward
        .map(|(line, name)| format!("{}:{line}: {} imports {name}", source.path.display(), EDGE[own]))
        .collect()
}

/// What is wrong with the size and the attributes of one file.
fn wrong_form(source: &Source) -> Vec<String> {
    let path = source.path.display();
    let mut faults = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES {
        faults.push(format!("{path}: {lines} lines"));
    }
    for (name, line, length) in functions(&source.code) {
        if length > FUNCTION_LINES {
            faults.push(format!("{path}:{line}: {name} has {length} lines"));
        }
    }
    for opening in ["#[expect(", "#![expect("] {
        for (at, _) in source.code.match_indices(opening) {
            let rest = &source.code[at..];
            if !rest[..rest.find(")]").unwrap_or(rest.len())].contains("reason = ") {
                faults.push(format!("{path}:{}: no reason", source.code[..at].lines().count() + 1));
            }
        }
    }
    faults
}

/// Each function with a body: its name, its line and how many lines it takes.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let rest = &code[at..];
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let Some(open) = rest.find(['{', ';']) else { continue };
        let mut depth = 0;
        let mut end = open;
        for (n, c) in rest[open..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                end = open + n;
                break;
            }
        }
        let name = rest[3..].chars().take_while(|c| is_word(*c)).collect();
        found.push((name, code[..at].lines().count(), rest[..end].lines().count()));
    }
    found
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn imports_only_go_down() {
    none(&sources(&SOURCES).iter().flat_map(wrong_imports).collect::<Vec<_>>());
    none(&sources(&SOURCES).iter().flat_map(wrong_folders).collect::<Vec<_>>());
}

#[test]
fn the_table_has_no_way_up() {
    for (n, (name, allowed)) in LAYERS.iter().enumerate() {
        for lower in *allowed {
            let below = LAYERS[..n].iter().any(|(module, _)| module == lower);
            assert!(below, "{name} imports {lower}, which stands above it");
        }
    }
}

#[test]
fn the_table_allows_nothing_that_nobody_needs() {
    let sources = sources(&SOURCES);
    let imports = |name: &str, lower: &str| {
        let mut own = sources.iter().filter(|source| source.module() == name);
        own.any(|source| names_after(&source.code, "crate::").iter().any(|(_, import)| import == lower))
    };
    for (name, allowed) in LAYERS {
        for lower in *allowed {
            assert!(imports(name, lower), "{name} does not import {lower}");
        }
    }
}

/// Lists the public items of one file that have no doc comment. The compiler does not see those of hidden modules.
fn without_docs(source: &Source) -> Vec<String> {
    const ITEMS: [&str; 9] = ["fn", "async", "const", "static", "struct", "enum", "trait", "type", "mod"];
    let code = circles::without_tests(&source.text);
    let lines: Vec<_> = code.lines().map(str::trim_start).collect();
    let is_documented = |at: usize| {
        let mut above =
            lines[..at].iter().rev().skip_while(|line| line.starts_with("#[") && !line.starts_with("#[doc"));
        above.next().is_some_and(|line| line.starts_with("///") || line.starts_with("#[doc"))
    };
    let is_item = |line: &str| {
        let word = line.strip_prefix("pub ").and_then(|rest| rest.split([' ', ':']).next());
        let opens_file = line.starts_with("pub mod ") && line.ends_with(';');
        !opens_file
            && !line.contains('$')
            && word.is_some_and(|word| ITEMS.contains(&word) || line.contains(": "))
    };
    let items = lines.iter().enumerate().filter(|(at, line)| is_item(line) && !is_documented(*at));
    items.map(|(at, line)| format!("{}:{}: {line}", source.path.display(), at + 1)).collect()
}

#[test]
fn public_items_are_documented() {
    none(&sources(&SOURCES).iter().flat_map(without_docs).collect::<Vec<_>>());
    let documented =
        "/// A field.\n#[serde(default)]\npub a: u8,\npub mod b;\npub use c::D;\npub(crate) fn e() {}";
    assert_eq!(without_docs(&Source::of("src/a.rs", documented)), Vec::<String>::new());
    let bare = "pub a: u8,\n#[must_use]\npub fn b() {}\n/// C.\npub struct C;\npub const D: u8 = 1;";
    assert_eq!(without_docs(&Source::of("src/a.rs", bare)).len(), 3);
}

/// Lists the docs of one file that are questions, or begin as a fragment does.
fn odd_docs(source: &Source) -> Vec<String> {
    const OPENINGS: [&str; 9] = ["What", "Who", "Whose", "How", "Where", "Why", "That", "When", "Which"];
    let doc = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix("/// ").or_else(|| line.strip_prefix("//! ")).map(str::to_owned)
    };
    let (mut faults, mut opens, mut is_code) = (Vec::new(), true, false);
    for (n, line) in source.text.lines().enumerate() {
        let Some(text) = doc(line) else {
            opens = true;
            continue;
        };
        is_code ^= text.starts_with("```");
        if is_code {
            continue;
        }
        let first = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let plain: String = text.split('`').step_by(2).collect();
        if opens && OPENINGS.contains(&first) || plain.contains('?') || text.contains(concat!("can", " not"))
        {
            faults.push(format!("{}:{}: {text}", source.path.display(), n + 1));
        }
        // A paragraph below begins anew; an empty line of a doc is no doc to this.
        opens = text.starts_with("# Errors");
    }
    faults
}

#[test]
fn docs_are_sentences_or_noun_phrases() {
    none(&sources(&SOURCES).iter().flat_map(odd_docs).collect::<Vec<_>>());
    let odd = "/// What it is.\nfn a() {}\n/// Is it?\nfn b() {}\n/// Fine.\n///\n/// # Errors\n/// When it is none.\nfn c() {}";
    assert_eq!(odd_docs(&Source::of("src/a.rs", odd)).len(), 3);
    let plain = "/// Returns what it is, or `None`?\nfn a() {}\n/// Reads `a ? b`.\n/// What follows is one sentence.\nfn b() {}";
    assert_eq!(odd_docs(&Source::of("src/a.rs", plain)).len(), 1);
}

#[test]
fn files_and_functions_stay_readable() {
    none(&sources(&ALL).iter().flat_map(wrong_form).collect::<Vec<_>>());
}

#[test]
fn nothing_depends_on_what_is_not_in_the_repository() {
    for source in sources(&ALL) {
        let skips = source.text.contains("skipped: ");
        let outside = source.text.contains(concat!("..", "/shared"));
        assert!(!outside || skips && !source.within().starts_with("src"), "{}", source.path.display());
    }
}

#[test]
fn the_checks_see_what_they_look_for() {
    for (path, text) in [
        ("src/json/scan.rs", "use crate::sse::Event;"),
        ("src/canon/mod.rs", "use crate::{json, protocol::{Head, Members}};"),
        ("src/route/mod.rs", "fn f() { crate::edge::run() }"),
        ("src/translate/relay.rs", "use pingora::Error;"),
        ("src/protocol/head.rs", "use serde_json::{Map, Value};"),
        ("src/protocol/chat/decode/text.rs", "use crate::protocol::messages::Messages;"),
        ("src/protocol/chat/mod.rs", "use super::responses;"),
        ("src/new.rs", ""),
    ] {
        assert_eq!(wrong_imports(&Source::of(path, text)).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        (
            "src/json/scan.rs",
            "// use crate::sse::Event;\nlet a = \"crate::sse\"; let b = r#\"crate::\"sse\"#;",
        ),
        ("src/canon/request/block.rs", "use crate::json::{lit, raw};"),
        ("src/protocol/chat/encode/mod.rs", "use crate::canon::Event; use super::super::{chat, Head};"),
        ("src/protocol/mod.rs", "pub use chat::Chat; static A: &dyn P = &messages::Messages;"),
        ("src/edge/request/plan.rs", "use pingora_proxy::Session;"),
    ] {
        assert_eq!(wrong_imports(&Source::of(path, text)), Vec::<String>::new());
    }
    for (path, text, faults) in [
        ("src/edge/call/billing.rs", "use crate::edge::request::plan;", 1),
        ("src/edge/call/billing.rs", "use super::super::request::plan;", 1),
        ("src/edge/call/mod.rs", "use super::request::plan;", 1),
        ("src/edge/respond/driver.rs", "use crate::edge::request::plan;", 0),
        ("src/edge/respond/driver.rs", "use super::super::request::plan;", 0),
    ] {
        assert_eq!(wrong_folders(&Source::of(path, text)).len(), faults, "{path}: {text}");
    }
    let long = format!("fn f() {{\n{}}}\n", "'{';\n".repeat(FUNCTION_LINES));
    for text in [&long, &"\n".repeat(FILE_LINES + 1), "#[expect(dead_code)]\nfn f() {}"] {
        assert_eq!(wrong_form(&Source::of("src/a.rs", text)).len(), 1);
    }
    assert_eq!(wrong_form(&Source::of("src/a.rs", "#[expect(dead_code, reason = \"x\")]\nfn f();")).len(), 0);
}

/// Whether a file may write the tables of keys, accounts and operators' tokens: the operations, and the time of a
/// secret's last use, which no operator changes.
fn may_write(source: &Source) -> bool {
    let name = source.path.file_stem().unwrap_or_default().to_string_lossy();
    let is_test = name == "tests" || name.ends_with("_tests");
    // That a budget is used up is noted in the transaction that has found it out, and the making of a store and its
    // change to a new form are rows of the log.
    let others = ["auth/secret_uses.rs", "meter/alert.rs", "store/mod.rs"];
    is_test
        || source.path.starts_with("src/admin/records")
        || others.iter().any(|other| source.path.ends_with(other))
}

#[test]
fn only_operations_write_keys_accounts_and_tokens() {
    const TABLES: [&str; 6] = ["keys", "key_secrets", "accounts", "tokens", "audit", "idempotency"];
    let sources = sources(&SOURCES);
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !may_write(source)) {
        let text = circles::without_tests(&source.text);
        for table in TABLES {
            let writes = ["INSERT INTO", "UPDATE", "DELETE FROM"].map(|verb| format!("{verb} {table} "));
            faults.extend(
                writes
                    .iter()
                    .filter(|write| text.contains(write.as_str()))
                    .map(|write| format!("{}: {write}", source.path.display())),
            );
        }
    }
    none(&faults);
}
