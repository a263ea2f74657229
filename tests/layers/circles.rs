//! Import circles between files: two files that import each other, directly or by way of others, can only be read, and
//! changed, together.
//!
//! An import is a path in a `use`, or one that begins with `crate`, `super` or `self`. It is followed through re-exports
//! to the file that defines the name. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Source, is_word};

/// A module by its path: `["edge", "call"]`; the crate's root is empty.
type Module = Vec<String>;

/// The files that define modules, and the names that each of them re-exports.
#[derive(Default)]
struct Tree {
    files: BTreeMap<Module, PathBuf>,
    exports: BTreeMap<Module, Vec<(String, Vec<String>)>>,
}

impl Tree {
    fn of(sources: &[Source]) -> Self {
        let mut tree = Self::default();
        for source in sources {
            let module = module(source);
            let uses = uses(&without_tests(&source.code));
            let exports = uses.into_iter().filter(|used| used.public);
            // Both crates have a root.
            tree.exports
                .entry(module.clone())
                .or_default()
                .extend(exports.map(|used| (used.name, used.path)));
            tree.files.insert(module, source.path.clone());
        }
        tree
    }

    /// The file that defines what a path means in a module; `None` for other crates.
    fn file(&self, path: &[String], from: &Module) -> Option<&PathBuf> {
        self.module(path, from, 16).and_then(|module| self.files.get(&module))
    }

    fn module(&self, path: &[String], from: &Module, depth: u32) -> Option<Module> {
        let depth = depth.checked_sub(1)?;
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Module::new(),
            "self" => from.clone(),
            "super" => from.split_last()?.1.to_vec(),
            child if self.files.contains_key(&joined(from, child)) => joined(from, child),
            name => return self.export(name, rest, from, depth),
        };
        while let Some((name, below)) = rest.split_first() {
            if name == "super" {
                at.pop()?;
            } else if self.files.contains_key(&joined(&at, name)) {
                at.push(name.clone());
            } else {
                return self.export(name, below, &at, depth).or(Some(at));
            }
            rest = below;
        }
        Some(at)
    }

    /// Finds the origin of a name that a module re-exports.
    fn export(&self, name: &str, below: &[String], module: &Module, depth: u32) -> Option<Module> {
        let exports = self.exports.get(module)?;
        let (_, path) = exports.iter().find(|(exported, _)| exported == name)?;
        let path: Vec<_> = path.iter().chain(below).cloned().collect();
        self.module(&path, module, depth)
    }
}

fn joined(module: &[String], child: &str) -> Module {
    module.iter().cloned().chain([child.to_owned()]).collect()
}

/// The module that a file is.
fn module(source: &Source) -> Module {
    let mut names: Module =
        source.within().with_extension("").iter().skip(1).map(|name| name.to_string_lossy().into()).collect();
    if names.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib")) {
        names.pop();
    }
    names
}

/// One name that a file uses.
struct Used {
    /// The name under which it is known there.
    name: String,
    path: Vec<String>,
    /// Whether it is re-exported.
    public: bool,
}

/// The code without modules that are only there in tests.
pub(super) fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let open = after.find(['{', ';']).unwrap_or(after.len());
        let mut depth = 0_usize;
        let end = after[open..].char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        rest = &after[end.map_or(after.len(), |(n, _)| open + n + 1)..];
    }
    out + rest
}

/// All paths that a file names in `use`, and those that begin at a module in its code.
fn uses(code: &str) -> Vec<Used> {
    let mut found = Vec::new();
    let mut elsewhere = String::new();
    let mut rest = code;
    while let Some((before, statement, after)) = statement(rest) {
        let public =
            before.trim_end().ends_with("pub") || before.trim_end().ends_with(')') && is_restricted(before);
        expand(statement, &[], public, &mut found);
        elsewhere.push_str(before);
        rest = after;
    }
    elsewhere.push_str(rest);
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in elsewhere.match_indices(start) {
            let before = elsewhere[..at].chars().next_back();
            // A place from which something is seen is no import.
            let is_visibility = elsewhere[..at].ends_with("(in ");
            if is_visibility || before.is_some_and(|c| is_word(c) || c == ':' || c == '$') {
                continue;
            }
            let path: String = elsewhere[at..].chars().take_while(|c| is_word(*c) || *c == ':').collect();
            let path: Vec<_> = path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
            found.push(Used { name: String::new(), path, public: false });
        }
    }
    found
}

/// Whether what comes before a `use` is a visibility: `pub(crate)`.
fn is_restricted(before: &str) -> bool {
    before.trim_end().rfind("pub(").is_some_and(|at| !before[at..].contains([';', '{', '}']))
}

/// The next `use`: what comes before, its tree, and what comes behind.
fn statement(code: &str) -> Option<(&str, &str, &str)> {
    let starts = code.match_indices("use ").map(|(at, _)| at);
    let at = starts.into_iter().find(|at| !code[..*at].chars().next_back().is_some_and(is_word))?;
    let tree = &code[at + 4..];
    let end = tree.find(';')?;
    Some((&code[..at], &tree[..end], &tree[end + 1..]))
}

/// Every path of a tree: `a::{b, c::{self, d}}`.
fn expand(tree: &str, before: &[String], public: bool, found: &mut Vec<Used>) {
    let tree = tree.trim();
    let (head, group) = tree.split_once('{').map_or((tree, None), |(head, group)| (head, Some(group)));
    let (head, alias) = head.split_once(" as ").map_or((head, None), |(head, alias)| (head, Some(alias)));
    let names = head.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    let mut path: Vec<_> = before.iter().cloned().chain(names).collect();
    if let Some(group) = group {
        let inside = group.strip_suffix('}').unwrap_or(group);
        return branches(inside).into_iter().for_each(|branch| expand(branch, &path, public, found));
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = alias.or_else(|| path.last().map(String::as_str)).unwrap_or_default().trim().to_owned();
    found.push(Used { name, path, public });
}

/// The parts of a group, which commas separate.
fn branches(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&group[start..]);
    found.into_iter().filter(|branch| !branch.trim().is_empty()).collect()
}

/// The files that each file imports.
fn imports(sources: &[Source]) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let tree = Tree::of(sources);
    let of = |source: &Source| {
        let module = module(source);
        let uses = uses(&without_tests(&source.code));
        let files = uses.iter().filter_map(|used| tree.file(&used.path, &module)).cloned();
        files.filter(|file| *file != source.path).collect()
    };
    sources.iter().map(|source| (source.path.clone(), of(source))).collect()
}

/// All that can be reached from a file.
fn reached<'g>(graph: &'g BTreeMap<PathBuf, BTreeSet<PathBuf>>, from: &'g PathBuf) -> BTreeSet<&'g PathBuf> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        open.extend(graph.get(file).into_iter().flatten().filter(|next| reached.insert(*next)));
    }
    reached
}

/// Files that reach themselves, each circle once.
fn circles(sources: &[Source]) -> Vec<Vec<String>> {
    let graph = imports(sources);
    let reach: BTreeMap<_, _> = graph.keys().map(|file| (file, reached(&graph, file))).collect();
    let mut found = BTreeSet::new();
    for (file, reached) in &reach {
        let circle =
            reached.iter().filter(|other| reach.get(**other).is_some_and(|back| back.contains(*file)));
        let circle: Vec<_> = circle.map(|file| file.to_string_lossy().into_owned()).collect();
        if !circle.is_empty() {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

/// Whether a file is only there in tests.
fn is_test(source: &Source) -> bool {
    let name = source.path.file_stem().unwrap_or_default().to_string_lossy();
    name == "tests" || name.ends_with("_tests") || source.path.iter().any(|folder| folder == "tests")
}

#[test]
fn no_files_import_each_other() {
    let sources: Vec<_> =
        super::sources(&super::SOURCES).into_iter().filter(|source| !is_test(source)).collect();
    let found = circles(&sources);
    assert!(found.is_empty(), "files import each other: {found:#?}");
}

#[test]
fn circles_are_seen_through_re_exports_and_paths_in_code() {
    let circle = |files: &[(&str, &str)]| {
        circles(&files.iter().map(|(path, text)| Source::of(path, text)).collect::<Vec<_>>())
    };
    let a_and_b = vec![vec!["src/a/b.rs".to_owned(), "src/a/c.rs".to_owned()]];
    for (b, c) in [
        ("use super::c::C;", "use super::{b::{self, B}};"),
        ("use crate::a::C;", "fn f() { super::b::f() }"),
        ("use crate::a::{C as D};", "use crate::a::b as other;"),
    ] {
        let files =
            [("src/a/mod.rs", "mod b;\nmod c;\npub use c::C;\n"), ("src/a/b.rs", b), ("src/a/c.rs", c)];
        assert_eq!(circle(&files), a_and_b, "{b} {c}");
    }
    let parent =
        [("src/a/mod.rs", "mod b;\npub use b::B;\npub struct Own;"), ("src/a/b.rs", "use super::Own;")];
    assert_eq!(
        circle(&parent).len(),
        1,
        "what a child needs does not stand in its parent, who re-exports it"
    );
    let tests =
        [("src/a.rs", "use crate::b::B;"), ("src/b.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }")];
    assert_eq!(circle(&tests), Vec::<Vec<String>>::new());
}
