//! What the clocks of a zone show, and when.

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// The point in time at which the clocks of `zone` show `local`. Where they
/// show it twice, the earlier one; where they are put forward past it, as if
/// they had not been put forward yet, which is how PostgreSQL reads it.
pub(crate) fn instant(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    zone.from_local_datetime(&local).earliest().map_or_else(
        || {
            // No zone's clocks are put forward by more than a day.
            let before = local.checked_sub_signed(TimeDelta::days(1)).unwrap_or(local);
            let offset = zone.offset_from_utc_datetime(&before).fix();
            local.checked_sub_offset(offset).unwrap_or(local).and_utc()
        },
        |time| time.to_utc(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_shown_twice_or_never_is_one_point_in_time() {
        let at = |local: &str, zone: Tz| instant(local.parse().unwrap(), zone).to_rfc3339();
        let (sao_paulo, berlin) = (chrono_tz::America::Sao_Paulo, chrono_tz::Europe::Berlin);
        assert_eq!(at("2026-03-01T12:00:00", Tz::UTC), "2026-03-01T12:00:00+00:00");
        assert_eq!(at("2026-03-01T12:00:00", sao_paulo), "2026-03-01T15:00:00+00:00");
        assert_eq!(at("2026-10-25T02:30:00", berlin), "2026-10-25T00:30:00+00:00", "shown twice");
        // SELECT '2026-03-29 02:30 Europe/Berlin'::timestamptz, '2011-12-30 23:00 Pacific/Apia'::timestamptz.
        assert_eq!(at("2026-03-29T02:30:00", berlin), "2026-03-29T01:30:00+00:00", "never shown");
        let apia = chrono_tz::Pacific::Apia;
        assert_eq!(at("2011-12-30T23:00:00", apia), "2011-12-31T09:00:00+00:00", "a day that never was");
        for far in [NaiveDateTime::MIN, NaiveDateTime::MAX] {
            let _no_panic = instant(far, apia);
        }
    }
}
