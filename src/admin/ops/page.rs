//! Pages of lists.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::admin::error::{Code, Mistake, OperationError, OperationResult};
use crate::admin::model::List;

/// The part of a list that is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    /// The most objects.
    pub limit: u32,
    /// The cursor that came with the page before.
    pub cursor: Option<String>,
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: 100, cursor: None }
    }
}

impl Page {
    /// Returns a page with everything: a list of one process, which nobody else waits for.
    #[must_use]
    pub fn all() -> Self {
        Self { limit: u32::MAX, cursor: None }
    }

    /// Checks the limit of a request.
    ///
    /// # Errors
    /// Fails if it is out of range.
    pub fn check(&self) -> OperationResult<()> {
        if (1..=MAX_LIMIT).contains(&self.limit) {
            return Ok(());
        }
        let mistake = Mistake::new("limit", format!("is not between 1 and {MAX_LIMIT}"));
        Err(OperationError::invalid(vec![mistake]))
    }

    /// Returns the place before which the page of a list begins.
    pub(super) fn before(&self, list: &str) -> OperationResult<i64> {
        let Some(cursor) = &self.cursor else { return Ok(i64::MAX) };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap_or_default();
        let place = text.split_once(':').filter(|(name, _)| *name == list);
        place.and_then(|(_, number)| number.parse().ok()).ok_or_else(|| {
            OperationError::new(
                Code::InvalidCursor,
                "the cursor is not one of this list; begin without a cursor",
            )
        })
    }

    /// Returns the number of rows to read: one more than wanted tells whether there are more.
    pub(super) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Makes a list of rows, whose places `number` returns.
    pub(super) fn list<R, T>(
        &self,
        name: &str,
        mut rows: Vec<R>,
        number: impl Fn(&R) -> i64,
        object: impl FnMut(R) -> OperationResult<T>,
    ) -> OperationResult<List<T>> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more).map(number);
        let next_cursor = last.map(|number| URL_SAFE_NO_PAD.encode(format!("{name}:{number}")));
        let data = rows.into_iter().map(object).collect::<OperationResult<_>>()?;
        Ok(List { data, has_more, next_cursor })
    }
}

/// The most objects of a page.
const MAX_LIMIT: u32 = 1_000;
