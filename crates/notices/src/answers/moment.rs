//! The two ways in which clouds write an instant, as milliseconds since 1970.

/// Reads `2017-09-18T08:22:00Z`, with or without a fraction of a second.
pub(super) fn rfc3339(text: &str) -> Option<i64> {
    let text = text.trim().strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let time = time.split_once('.').map_or(Some(time), |(whole, fraction)| {
        (!fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit())).then_some(whole)
    })?;
    let mut date = date.split('-');
    let (year, month, day) = (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
    date.next().is_none().then_some(())?;
    millis(year, month, day, time)
}

/// Reads `Mon, 19 Sep 2016 18:29:47 GMT`; the day of the week is not looked at.
pub(super) fn rfc1123(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_weekday, rest) = text.trim().split_once(", ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let day = if day.len() == 1 { number(day, 1)? } else { number(day, 2)? };
    millis(number(year, 4)?, i64::try_from(month).ok()? + 1, day, time)
}

fn number(digits: &str, len: usize) -> Option<i64> {
    (digits.len() == len && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

fn millis(year: i64, month: i64, day: i64, time: &str) -> Option<i64> {
    let mut time = time.split(':');
    let (hour, minute, second) = (number(time.next()?, 2)?, number(time.next()?, 2)?, number(time.next()?, 2)?);
    // A leap second counts as the second after it.
    let sound = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && time.next().is_none();
    let days = sound.then(|| days_since_1970(year, month, day))?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts from March, so that the leap day is the last of its year; four digits of a year cannot overflow.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn instants_of_the_documents_are_read() {
        assert_eq!(rfc3339("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(rfc3339("2017-09-18T08:22:00Z"), Some(1_505_722_920_000));
        assert_eq!(rfc3339("2000-02-29T23:59:59.123Z"), Some(951_868_799_000));
        assert_eq!(rfc1123("Mon, 19 Sep 2016 18:29:47 GMT"), Some(1_474_309_787_000));
        assert_eq!(rfc1123("Tue, 09 Aug 2022 17:07:32 GMT"), Some(1_660_064_852_000));
        assert_eq!(rfc1123("Tue, 9 Aug 2022 17:07:32 GMT"), rfc1123("Tue, 09 Aug 2022 17:07:32 GMT"));
    }

    #[test]
    fn what_is_no_instant_is_none() {
        for text in [
            "",
            "Z",
            "T",
            "now",
            "2017-09-18",
            "2017-09-18T08:22:00",
            "2017-13-18T08:22:00Z",
            "2017-02-29T08:22:00Z",
            "2017-09-18T24:22:00Z",
            "2017-09-18T08:22Z",
            "2017-09-18T08:22:00.Z",
            "+017-09-18T08:22:00Z",
            "99999999999999999999-01-01T00:00:00Z",
            "2017-09-18-01T08:22:00Z",
            "2017-09-18T08:22:00:00Z",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        for text in ["", "Mon, 19 Sep 2016 18:29:47", "Mon, 19 Sip 2016 18:29:47 GMT", "Mon, 31 Sep 2016 18:29:47 GMT"]
        {
            assert_eq!(rfc1123(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_day_after_is_a_day_later(year in 0i64..9999, month in 1i64..=12, day in 1i64..=31) {
            prop_assume!(day <= days_in(year, month));
            let next = if day < days_in(year, month) { (year, month, day + 1) }
                else if month < 12 { (year, month + 1, 1) } else { (year + 1, 1, 1) };
            prop_assert_eq!(days_since_1970(next.0, next.1, next.2), days_since_1970(year, month, day) + 1);
        }
    }
}
