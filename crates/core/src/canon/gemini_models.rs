//! The capabilities of Gemini models, by name.

use super::Effort;
use super::caps::{BudgetRange, Caps, ThinkingCaps};

use Effort::{High, Low, Medium, Minimal};

/// One line of the table of Gemini models.
struct Line {
    /// The beginning of the names that the line covers.
    prefix: &'static str,
    /// A word that such a name has to have besides.
    word: &'static str,
    max_output: u64,
    /// The levels of thinking that the models know; empty: none.
    efforts: &'static [Effort],
    budgets: Option<BudgetRange>,
    /// Whether it thinks unless it is told not to.
    by_default: bool,
    /// Whether it is of the third generation or later, whose requests may mix tools and whose results may hold media.
    is_third: bool,
}

/// Returns the capabilities of a Gemini model. A name that is in no line belongs to the newest generation.
pub(super) fn caps(model: &str) -> Caps {
    // A path or a vendor may stand in front.
    let name = model.rsplit('/').next().unwrap_or_default();
    let covers = |line: &&Line| name.starts_with(line.prefix) && name.contains(line.word);
    let line = LINES.iter().find(covers).unwrap_or(&NEWEST);
    let thinking = match (line.efforts.is_empty(), line.budgets) {
        (false, _) => ThinkingCaps::AdaptiveAlways,
        (true, Some(_)) => ThinkingCaps::Budget,
        (true, None) => ThinkingCaps::None,
    };
    Caps {
        max_output: Some(line.max_output),
        thinking,
        thinks_by_default: line.by_default,
        efforts: line.efforts.iter().copied().collect(),
        web_search: true,
        budgets: line.budgets,
        mixed_tools: line.is_third,
        result_media: line.is_third,
        ..Caps::foreign()
    }
}

const FROM_LOW: &[Effort] = &[Low, Medium, High];

static NEWEST: Line = LEVELS;

const LEVELS: Line = Line {
    prefix: "",
    word: "",
    max_output: 65_536,
    efforts: FROM_LOW,
    budgets: None,
    by_default: true,
    is_third: true,
};

const SECOND: Line = Line { efforts: &[], is_third: false, ..LEVELS };

const WITHOUT_THINKING: Line = Line { max_output: 8_192, by_default: false, ..SECOND };

const fn budgets(min: u64, max: u64, can_be_off: bool) -> Option<BudgetRange> {
    Some(BudgetRange { min, max, can_be_off })
}

/// Gemini models by the beginnings of their names, the more specific one first. From Google's public pages of the
/// models and of thinking.
static LINES: &[Line] = &[
    Line { prefix: "gemini-3-pro", efforts: &[Low, High], ..LEVELS },
    Line { prefix: "gemini-3.7-flash", ..LEVELS },
    Line { prefix: "gemini-3", word: "flash", efforts: &[Minimal, Low, Medium, High], ..LEVELS },
    Line { prefix: "gemini-2.5-pro", budgets: budgets(128, 32_768, false), ..SECOND },
    Line {
        prefix: "gemini-2.5-flash-lite",
        budgets: budgets(512, 24_576, true),
        by_default: false,
        ..SECOND
    },
    Line { prefix: "gemini-2.5-flash", budgets: budgets(1, 24_576, true), ..SECOND },
    Line { prefix: "gemini-2.0", ..WITHOUT_THINKING },
    Line { prefix: "gemini-1", ..WITHOUT_THINKING },
    Line { prefix: "gemma", ..WITHOUT_THINKING },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_known_by_their_names_and_new_ones_are_like_the_newest() {
        assert_eq!(caps("gemini-3-flash-preview").efforts.len(), 4);
        assert_eq!(caps("gemini-3.7-flash").efforts.len(), 3);
        assert_eq!(caps("google/gemini-3-pro-preview").efforts.len(), 2);
        assert_eq!(caps("gemini-2.5-pro").budgets.unwrap().min, 128);
        assert!(caps("gemini-2.5-flash-lite-001").budgets.unwrap().can_be_off);
        assert_eq!(caps("gemini-2.0-flash").thinking, ThinkingCaps::None);
        assert!(caps("gemini-4-argon").mixed_tools && !caps("gemini-2.5-flash").result_media);
        assert_eq!(caps("gemini-flash-latest").efforts, caps("gemini-4-argon").efforts);
    }
}
