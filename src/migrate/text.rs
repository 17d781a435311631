//! Numbers for people, in the manner of the command line.

/// Groups the digits by threes with thin spaces: `18 204`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// Counts things by name: `1 row`, `18 204 rows`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Shows a share of a whole in percent: never 0 % or 100 % for a part that is neither.
pub(super) fn share(part: u64, whole: u64) -> String {
    if part == 0 || part >= whole {
        return if part == 0 { "0 %" } else { "100 %" }.to_owned();
    }
    match part as f64 * 100.0 / whole as f64 {
        ..0.1 => "< 0.1 %".to_owned(),
        99.95.. => "> 99.9 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}
