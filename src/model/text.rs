//! Numbers for people, in messages and on the command line.

/// Groups the digits by threes with thin spaces, which a word split leaves alone: `18 204`.
pub(crate) fn grouped(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    if number < 0 {
        text.push('-');
    }
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// Counts things by name: `1 row`, `18 204 rows`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Cuts text that is long for a message.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Shows a share of a whole in percent: never 0 % or 100 % for a part that is neither.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if part == 0 || part >= whole {
        return if part == 0 { "0 %" } else { "100 %" }.to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match percent {
        ..0.1 => "< 0.1 %".to_owned(),
        99.95.. => "> 99.9 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}

/// Shows a size with three or four digits: `96 B`, `11.9 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Rounding must not lead to "1024.0 KiB".
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_threes_with_thin_spaces() {
        assert_eq!(
            [0, 999, 1000, -18_204, 1_000_000].map(|n: i64| grouped(n)),
            ["0", "999", "1\u{2009}000", "-18\u{2009}204", "1\u{2009}000\u{2009}000"]
        );
        assert_eq!(grouped(u64::MAX).chars().filter(|c| *c == '\u{2009}').count(), 6);
        assert_eq!([0, 1, 2].map(|n| counted(n, "row")), ["0 rows", "1 row", "2 rows"]);
    }

    #[test]
    fn a_part_is_never_shown_as_nothing_or_all() {
        assert_eq!([(0, 0), (0, 5), (5, 5)].map(|(p, w)| share(p, w)), ["0 %", "0 %", "100 %"]);
        assert_eq!(
            [1, 50, 9_999, 99_999].map(|p| share(p, 100_000)),
            ["< 0.1 %", "< 0.1 %", "10.0 %", "> 99.9 %"]
        );
    }
}
