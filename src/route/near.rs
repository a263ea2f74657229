//! The models that somebody has probably meant by a name that no model has.

/// The models whose names resemble another one, in the order of their resemblance.
pub(super) struct NearMatches<'n> {
    name: Vec<u8>,
    last_segment: Vec<u8>,
    /// The most edits in which a name may differ.
    most: usize,
    /// Whether the name has no vendor, and is compared with names without theirs.
    is_bare: bool,
    /// The cells of tables that may still be computed.
    cells: usize,
    best: Vec<(usize, &'n str)>,
}

impl<'n> NearMatches<'n> {
    /// Finds the names that resemble `name`, the nearest first.
    pub(super) fn of(name: &str, candidates: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
        let lower = name.to_ascii_lowercase();
        let most = if name.len() >= LONG_NAME_BYTES { MAX_EDITS_LONG } else { MAX_EDITS };
        let mut near = Self {
            last_segment: last_segment(&lower).as_bytes().to_vec(),
            // Of a short name, most of the letters have to be right.
            most: most.min(name.len().saturating_sub(1) / 2),
            is_bare: !name.contains('/'),
            name: lower.into_bytes(),
            cells: MAX_CELLS,
            best: Vec::new(),
        };
        candidates.take(MAX_CANDIDATES).for_each(|candidate| near.look_at(candidate));
        near.best.sort_by_key(|(edits, _)| *edits);
        near.best.dedup();
        near.best.into_iter().take(MAX_MATCHES).map(|(_, candidate)| candidate).collect()
    }

    fn look_at(&mut self, candidate: &'n str) {
        let segment = last_segment(candidate);
        if segment.as_bytes().eq_ignore_ascii_case(&self.last_segment) {
            self.best.push((0, candidate));
            return;
        }
        let compared = if self.is_bare { segment } else { candidate };
        if compared.len().abs_diff(self.name.len()) > self.most || self.cells == 0 {
            return;
        }
        let compared = compared.to_ascii_lowercase();
        if let Some(edits) = edits(&self.name, compared.as_bytes(), self.most, &mut self.cells) {
            self.best.push((edits, candidate));
        }
    }
}

/// Returns the part of a name behind its last slash.
fn last_segment(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Returns the number of bytes that have to be inserted, removed, replaced or swapped with the next one to turn one name
/// into the other; `None` if there are more than `most`. Only the cells near the diagonal are computed, and counted.
fn edits(one: &[u8], other: &[u8], most: usize, cells: &mut usize) -> Option<usize> {
    let far = most + 1;
    let width = other.len() + 1;
    let mut before: Vec<usize> = vec![far; width];
    let mut above: Vec<usize> = (0..width).map(|n| n.min(far)).collect();
    for (row, a) in one.iter().enumerate() {
        let mut current = vec![far; width];
        if let Some(first) = current.first_mut() {
            *first = (row + 1).min(far);
        }
        let (from, to) = (row.saturating_sub(most), (row + most + 1).min(other.len()));
        *cells = cells.checked_sub(to - from)?;
        for column in from..to {
            let b = other.get(column)?;
            let at = |cells: &[usize], n: usize| cells.get(n).copied().unwrap_or(far);
            let mut least = at(&above, column) + usize::from(a != b);
            least = least.min(at(&above, column + 1) + 1).min(at(&current, column) + 1);
            let swapped =
                row > 0 && column > 0 && one.get(row - 1) == Some(b) && other.get(column - 1) == Some(a);
            if swapped {
                least = least.min(at(&before, column - 1) + 1);
            }
            if let Some(cell) = current.get_mut(column + 1) {
                *cell = least.min(far);
            }
        }
        if current.iter().all(|cell| *cell > most) {
            return None;
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().filter(|edits| *edits <= most)
}

/// The most edits in which a name may differ: a letter too many, too few, wrong, or two swapped.
const MAX_EDITS: usize = 2;

/// The most edits in which a long name may differ.
const MAX_EDITS_LONG: usize = 3;

/// The length from which a name is long.
const LONG_NAME_BYTES: usize = 9;

/// The most models that are looked at.
const MAX_CANDIDATES: usize = 2_000;

/// The most cells of tables that are computed for one name, which takes 200 microseconds.
const MAX_CELLS: usize = 40_000;

/// The most names that a message contains.
const MAX_MATCHES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        let models =
            ["demo/chat", "openai/gpt-5", "openai/gpt-5-mini", "azure/gpt-5", "demo/think", "v/a", "v/b"];
        for (name, expected) in [
            ("demo/chatt", &["demo/chat"][..]),
            ("demo/caht", &["demo/chat"]),
            ("Demo/Chat", &["demo/chat"]),
            ("gpt-5", &["openai/gpt-5", "azure/gpt-5"]),
            ("gpt5", &["openai/gpt-5", "azure/gpt-5"]),
            ("other/gpt-5", &["openai/gpt-5", "azure/gpt-5"]),
            ("openai/gtp-5-mimi", &["openai/gpt-5-mini"]),
            ("v/x", &["v/a", "v/b"]),
            ("x/y", &[]),
            ("x", &[]),
            ("anthropic/claude", &[]),
        ] {
            assert_eq!(NearMatches::of(name, models.into_iter()), expected, "{name}");
        }
    }

    #[test]
    fn edits_are_counted_up_to_a_limit() {
        let count = |one: &str, other: &str, most| edits(one.as_bytes(), other.as_bytes(), most, &mut 1000);
        for (one, other, number) in [
            ("", "", 0),
            ("", "ab", 2),
            ("abc", "acb", 1),
            ("ca", "abc", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
        ] {
            assert_eq!(count(one, other, 3), Some(number), "{one} {other}");
            assert_eq!(count(other, one, 3), Some(number), "{other} {one}");
        }
        assert_eq!(count("kitten", "sitting", 2), None);
    }

    #[test]
    fn the_work_for_a_name_is_bounded() {
        let similar: Vec<_> = (0..10_000).map(|n| format!("vendor/{}{n:05}", "a".repeat(180))).collect();
        let name = format!("vendor/{}x", "a".repeat(184));
        let mut cells = MAX_CELLS;
        for candidate in &similar {
            edits(name.as_bytes(), candidate.as_bytes(), MAX_EDITS_LONG, &mut cells);
        }
        assert!(cells < 2_000, "further tables are not begun");
        assert!(NearMatches::of(&name, similar.iter().map(String::as_str)).len() <= MAX_MATCHES);
    }
}
