//! The page that says which fault is provoked by which test is about tests that there are.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("CATALOGUE.md");

/// Cases of the catalogue.
const CASES: usize = 112;

#[test]
fn the_catalogue_names_tests_that_there_are() {
    let rows: Vec<Vec<&str>> = PAGE
        .lines()
        .filter(|line| line.starts_with("| ") && line[2..].starts_with(|first: char| first.is_ascii_digit()))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let numbers: Vec<usize> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=CASES).collect::<Vec<_>>(), "each case once, and in order");
    for row in rows {
        let [number, _, tests] = row[..] else { panic!("three columns: {row:?}") };
        let names: Vec<&str> =
            tests.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
        assert!(
            !names.is_empty() || tests.starts_with("None: "),
            "case {number} has a test, or says why not"
        );
        for name in names {
            assert!(exists(name), "case {number}: there is no test {name}");
        }
    }
}

/// `file::test`, where the file is one of these tests unless it has a folder.
fn exists(name: &str) -> bool {
    let (file, test) = name.rsplit_once("::").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = if file.contains('/') { root.join(file) } else { root.join("tests/gateway").join(file) };
    fs::read_to_string(file.with_extension("rs")).is_ok_and(|text| text.contains(&format!("fn {test}(")))
}
