//! Usage.

use jiff::ToSpan as _;
use jiff::tz::TimeZone;

use crate::admin::api::call::{Call, Query, Reply};
use crate::admin::error::{Mistake, OperationError, OperationResult};
use crate::admin::model::{Moment, UsageList};
use crate::meter::{UsageDimension, UsagePeriod, UsageQuery};

pub(in crate::admin::api) fn list(call: &mut Call<'_>) -> OperationResult<Reply> {
    let query = question(&call.query, Moment::now())?;
    let is_csv = match call.query.text("format").as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(wrong("format", "is not json or csv")),
    };
    if let Some(view) = call.view {
        view.post_usage()?;
    }
    let as_of = Moment::now();
    let rows = call.operations.usage(&query)?;
    let list = UsageList::new((Moment(query.from), Moment(query.to)), as_of, rows);
    if is_csv { Ok(Reply::csv(list.csv())) } else { Reply::new(200, &list) }
}

/// Reads the question. Without a time, it is about this month.
fn question(query: &Query<'_>, now: Moment) -> OperationResult<UsageQuery> {
    let (this_month, next_month) = month(now);
    let from = hour(query, "from")?.unwrap_or(this_month);
    let to = hour(query, "to")?.unwrap_or(next_month);
    if from >= to {
        return Err(wrong("to", "is not after `from`"));
    }
    let (by, per) = grouping(&query.text("group_by").unwrap_or_default())?;
    Ok(UsageQuery {
        from: from.0,
        to: to.0,
        by,
        per,
        accounts: query.text("account").map(|account| vec![account]),
        key: query.text("key"),
        model: query.text("model"),
    })
}

/// Reads a time that is the beginning of an hour.
fn hour(query: &Query<'_>, name: &str) -> OperationResult<Option<Moment>> {
    let time = query.parsed::<Moment>(name, "a date, or a time on a full hour")?;
    match time {
        Some(Moment(seconds)) if seconds % SECONDS_PER_HOUR != 0 => Err(wrong(name, "is not on a full hour")),
        _ => Ok(time),
    }
}

/// Returns the beginnings of the month of a time and of the next one.
fn month(Moment(now): Moment) -> (Moment, Moment) {
    let time = jiff::Timestamp::from_second(now).unwrap_or_default();
    let first = TimeZone::UTC.to_datetime(time).date().first_of_month();
    let start = |date: jiff::civil::Date| {
        let start = TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0));
        Moment(start.map_or(now, |time| time.as_second()))
    };
    (start(first), start(first.saturating_add(1.month())))
}

/// Reads the facts by which calls are told apart.
fn grouping(text: &str) -> OperationResult<(Vec<UsageDimension>, Option<UsagePeriod>)> {
    let (mut by, mut per) = (Vec::new(), None);
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if let Some((_, dimension)) = DIMENSIONS.iter().find(|(known, _)| *known == name) {
            if !by.contains(dimension) {
                by.push(*dimension);
            }
        } else if let Some((_, period)) = PERIODS.iter().find(|(known, _)| *known == name) {
            if per.is_some_and(|other| other != *period) {
                return Err(wrong("group_by", "names more than one of hour, day and month"));
            }
            per = Some(*period);
        } else {
            let message =
                format!("has '{name}', which is none of account, key, model, provider, hour, day and month");
            return Err(wrong("group_by", &message));
        }
    }
    Ok((by, per))
}

fn wrong(param: &str, message: &str) -> OperationError {
    OperationError::invalid(vec![Mistake::new(param, message)])
}

const DIMENSIONS: [(&str, UsageDimension); 4] = [
    ("account", UsageDimension::Account),
    ("key", UsageDimension::Key),
    ("model", UsageDimension::Model),
    ("provider", UsageDimension::Provider),
];

const PERIODS: [(&str, UsagePeriod); 3] =
    [("hour", UsagePeriod::Hour), ("day", UsagePeriod::Day), ("month", UsagePeriod::Month)];

const SECONDS_PER_HOUR: i64 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_and_ends_where_utc_says() {
        let months = |time: &str| {
            let (from, to) = month(time.parse().unwrap());
            [from, to].map(|time| time.date())
        };
        assert_eq!(months("2026-12-31T23:59:59Z"), ["2026-12-01", "2027-01-01"]);
        assert_eq!(months("2028-02-29"), ["2028-02-01", "2028-03-01"]);
    }

    #[test]
    fn facts_are_told_apart_by_name_and_one_period() {
        let (by, per) = grouping("account, day,account").unwrap();
        assert_eq!((by, per), (vec![UsageDimension::Account], Some(UsagePeriod::Day)));
        for text in ["day,hour", "colour", "account,tag"] {
            assert!(grouping(text).is_err(), "{text}");
        }
    }
}
