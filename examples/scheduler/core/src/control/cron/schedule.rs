//! The ticks of a schedule in a time zone.

use croner::Cron as Pattern;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::types::{Ms, UnixMs};

/// Spans that are searched for ticks, one after another, until enough were found: each at most
/// thirty times the one before, so that what is thrown away stays small.
const WINDOWS: [Ms; 6] = {
    const HOUR: Ms = 3_600_000;
    [HOUR, 24 * HOUR, 30 * 24 * HOUR, 366 * 24 * HOUR, 20 * 366 * 24 * HOUR, Ms::MAX]
};

/// Ticks looked at in one search at most: a window of a month, of a tick a minute.
const LOOKED_AT_MAX: usize = 30 * 24 * 60 + 1;

/// When ticks come.
pub(super) struct Schedule {
    pattern: Pattern,
    zone: TimeZone,
}

/// A time zone by its name in the database that is built in.
pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    let known = jiff::tz::TimeZoneDatabase::bundled();
    known.get(name).map_err(|_| format!("`{name}` is no time zone; `Europe/Berlin` is one"))
}

impl Schedule {
    /// Reads five fields, or a nickname as `@daily`; UTC if there is no zone.
    pub(super) fn parse(text: &str, zone: Option<&TimeZone>) -> Result<Schedule, String> {
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let fields = text.split_whitespace().count();
        if fields != 5 && !(fields == 1 && text.trim_start().starts_with('@')) {
            return Err(format!(
                "`{text}` has {fields} fields; minute, hour, day, month and weekday are asked for"
            ));
        }
        let pattern = parser.parse(text).map_err(|error| format!("`{text}`: {error}"))?;
        let zone = zone.cloned().unwrap_or(TimeZone::UTC);
        let schedule = Schedule { pattern, zone };
        // Any that fires at all does so within 40 years: that far apart are two leap days that
        // fall on the same weekday, around 2100. The library looks further than that.
        match schedule.after(0) {
            Some(_) => Ok(schedule),
            None => Err(format!("`{text}` never fires: there is no such day")),
        }
    }

    /// The first tick after then.
    pub(super) fn after(&self, then: UnixMs) -> Option<UnixMs> {
        let next = self.pattern.find_next_occurrence(&self.zoned(then)?, false).ok()?;
        let next = UnixMs::try_from(next.timestamp().as_millisecond()).ok()?;
        // Whatever a library thinks of a gap or a repeat, time goes on.
        (next > then).then_some(next)
    }

    /// The newest ticks in `(after, until]`, the oldest of them first, `max` at most; and whether
    /// there are more.
    pub(super) fn newest(&self, after: UnixMs, until: UnixMs, max: usize) -> (Vec<UnixMs>, bool) {
        let mut found = Vec::new();
        for window in WINDOWS {
            let from = until.saturating_sub(window).max(after);
            found = self.within(from, until);
            if found.len() > max || from == after {
                break;
            }
        }
        let over = found.len().saturating_sub(max);
        (found.split_off(over), over > 0)
    }

    fn within(&self, after: UnixMs, until: UnixMs) -> Vec<UnixMs> {
        let ticks = std::iter::successors(self.after(after), |&tick| self.after(tick));
        ticks.take_while(|&tick| tick <= until).take(LOOKED_AT_MAX).collect()
    }

    /// By the clock of the schedule's zone.
    pub(super) fn show(&self, then: UnixMs) -> String {
        let zoned = self.zoned(then);
        zoned.map_or_else(String::new, |zoned| zoned.strftime("%Y-%m-%d %H:%M %Z").to_string())
    }

    fn zoned(&self, then: UnixMs) -> Option<Zoned> {
        let stamp = Timestamp::from_millisecond(i64::try_from(then).ok()?).ok()?;
        Some(stamp.to_zoned(self.zone.clone()))
    }
}
