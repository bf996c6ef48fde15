//! Dates for chat templates, which ask for them in the notation of C's `strftime`.

use std::time::{SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The time now, in UTC: the local offset cannot be had from the standard library.
pub(crate) fn now(format: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    strftime(format, since.as_secs())
}

/// The time `seconds` after the beginning of 1970, in UTC and English. What follows a `%` and is
/// not known stays as it is.
fn strftime(format: &str, seconds: u64) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        text += before;
        // `%-d`: without padding.
        let (bare, after) = after.strip_prefix('-').map_or((false, after), |after| (true, after));
        let mut letters = after.chars();
        match letters.next().map(|letter| (letter, field(letter, seconds))) {
            Some((_, Some(value))) if bare => text += unpadded(&value),
            Some((_, Some(value))) => text += &value,
            Some((letter, None)) => text.extend(["%", if bare { "-" } else { "" }, &letter.to_string()]),
            None => text += if bare { "%-" } else { "%" },
        }
        rest = letters.as_str();
    }
    text + rest
}

fn unpadded(value: &str) -> &str {
    match value.trim_start_matches(['0', ' ']) {
        "" => "0",
        value => value,
    }
}

fn field(letter: char, seconds: u64) -> Option<String> {
    let days = seconds / 86_400;
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let (weekday, month_name) = (DAYS[((days + 3) % 7) as usize], MONTHS[month as usize - 1]);
    Some(match letter {
        'Y' => year.to_string(),
        'y' => format!("{:02}", year % 100),
        'm' => format!("{month:02}"),
        'd' => format!("{day:02}"),
        'e' => format!("{day:2}"),
        'B' => month_name.into(),
        'b' | 'h' => month_name[..3].into(),
        'A' => weekday.into(),
        'a' => weekday[..3].into(),
        'H' => format!("{hour:02}"),
        'I' => format!("{:02}", (hour + 11) % 12 + 1),
        'p' => if hour < 12 { "AM" } else { "PM" }.into(),
        'M' => format!("{minute:02}"),
        'S' => format!("{second:02}"),
        'F' => format!("{year}-{month:02}-{day:02}"),
        'T' => format!("{hour:02}:{minute:02}:{second:02}"),
        'Z' => "UTC".into(),
        'z' => "+0000".into(),
        '%' => "%".into(),
        _ => return None,
    })
}

/// Year, month and day of the day `days` after 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last of a year, and in eras of 400
/// years, which all have the same number of days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + u64::from(month < 3), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_each_other() {
        let length = |year: u64, month| match month {
            2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(civil(days), (year, month, day));
            day += 1;
            if day > length(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn fields_are_those_of_c() {
        // 2024-07-04 09:05:06 UTC, a Thursday.
        let at = |format| strftime(format, 1_720_083_906);
        assert_eq!(at("%d %b %Y"), "04 Jul 2024");
        assert_eq!(at("%A, %B %-d; %F %T %Z"), "Thursday, July 4; 2024-07-04 09:05:06 UTC");
        assert_eq!(at("%I:%M %p %y %e %a"), "09:05 AM 24  4 Thu");
        assert_eq!(at("100%% %Q %-Q %"), "100% %Q %-Q %");
        assert_eq!(at("%-"), "%-");
        assert_eq!(strftime("%A %-H %I", 0), "Thursday 0 12");
    }
}
