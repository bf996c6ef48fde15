//! Dates for chat templates, in the format of C's `strftime`.

use jiff::Zoned;
use jiff::fmt::strtime::{BrokenDownTime, Config};

/// The current local time, like `datetime.now()` of Python, for which templates are written.
pub(super) fn now(format: &str) -> String {
    strftime(format, &Zoned::now())
}

/// `time` in English. An unknown character after `%` stays as it is.
fn strftime(format: &str, time: &Zoned) -> String {
    let config = Config::new().lenient(true);
    let text = BrokenDownTime::from(time).to_string_with_config(&config, format);
    text.unwrap_or_else(|_| format.into())
}

#[cfg(test)]
mod tests {
    use jiff::tz::{TimeZone, offset};

    use super::*;

    #[test]
    fn fields_are_those_of_c() {
        let in_zone = |time: &str, zone| time.parse::<jiff::Timestamp>().unwrap().to_zoned(zone);
        // A Thursday.
        let time = in_zone("2024-07-04T09:05:06Z", TimeZone::UTC);
        let at = |format| strftime(format, &time);
        assert_eq!(at("%d %b %Y"), "04 Jul 2024");
        assert_eq!(at("%A, %B %-d; %F %T %Z"), "Thursday, July 4; 2024-07-04 09:05:06 UTC");
        assert_eq!(at("%I:%M %p %y %e %a"), "09:05 AM 24  4 Thu");
        assert_eq!(at("100%% %E %-E %"), "100% %E %-E %");
        assert_eq!(at("%-"), "%-");
        let time = in_zone("1970-01-01T00:00:00Z", TimeZone::UTC);
        assert_eq!(strftime("%A %-H %I", &time), "Thursday 0 12");
        let time = in_zone("2024-12-31T23:30:00Z", TimeZone::fixed(offset(2)));
        assert_eq!(strftime("%F %H:%M %z", &time), "2025-01-01 01:30 +0200");
    }
}
