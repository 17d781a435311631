//! When a failed attempt is followed by another one.
//!
//! [`Restart`] is what a job or its command line asks for; [`Restarts`] decides from it and from the failures so far.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// What is done about an attempt that failed: the strategy of the supervisor, which runs attempts as processes of
/// their own.
///
/// Each attempt goes on from the last committed checkpoint or savepoint. On the command line a strategy is a word with
/// settings behind it: `--restart fixed,delay=10s,attempts=5`.
///
/// # Examples
///
/// ```
/// use pitlane::engine::{Job, Restart};
/// use std::time::Duration;
///
/// let job = Job::new("flights").restart(Restart::fixed_delay(Duration::from_secs(10)).attempts(5));
/// assert_eq!(Restart::fixed_delay(Duration::from_secs(10)).attempts(5), "fixed,delay=10s,attempts=5".parse()?);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Restart {
    strategy: Strategy,
    /// The most restarts altogether.
    attempts: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Strategy {
    Never,
    Fixed { delay: Duration },
    Exponential { first: Duration, factor: f64, max: Duration, reset: Duration },
    Rate { failures: u32, per: Duration, delay: Duration },
}

impl Default for Restart {
    /// [`never`](Self::never).
    fn default() -> Self {
        Self::never()
    }
}

impl Restart {
    const fn of(strategy: Strategy) -> Self {
        Self { strategy, attempts: None }
    }

    /// No attempt follows a failed one; there is no supervisor.
    pub const fn never() -> Self {
        Self::of(Strategy::Never)
    }

    /// The next attempt starts so long after the failure.
    pub const fn fixed_delay(delay: Duration) -> Self {
        Self::of(Strategy::Fixed { delay })
    }

    /// The next attempt starts after `first`, after a second failure twice as much later, and so on, up to `max`; an
    /// attempt that has run for an hour starts from `first` again.
    pub const fn exponential_backoff(first: Duration, max: Duration) -> Self {
        Self::of(Strategy::Exponential { first, factor: 2.0, max, reset: Duration::from_secs(3600) })
    }

    /// Attempts follow after `delay` unless there were more than so many failures within `per`.
    pub const fn failure_rate(failures: u32, per: Duration, delay: Duration) -> Self {
        Self::of(Strategy::Rate { failures, per, delay })
    }

    /// Gives up after so many restarts altogether; there is no limit unless said otherwise.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Returns whether there is no supervisor.
    pub(crate) fn is_never(&self) -> bool {
        self.strategy == Strategy::Never
    }

    /// What `--restart` alone means: from one second to a minute, without a limit.
    pub(crate) const ALONE: &str = "exponential";
}

/// What is done about a failure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// The next attempt starts after this time.
    After(Duration),
    /// There is none, for this reason.
    GiveUp(String),
}

/// The failures so far of a job under supervision.
#[derive(Debug)]
pub(crate) struct Restarts {
    restart: Restart,
    count: u32,
    /// Failures since the exponential delay began anew.
    in_a_row: u32,
    recent: VecDeque<Instant>,
}

impl Restarts {
    pub(crate) fn new(restart: Restart) -> Self {
        Self { restart, count: 0, in_a_row: 0, recent: VecDeque::new() }
    }

    /// Returns how often the job was restarted.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Decides about an attempt that ran for `ran` and failed at `now`.
    pub(crate) fn decide(&mut self, now: Instant, ran: Duration) -> Decision {
        if let Some(attempts) = self.restart.attempts.filter(|attempts| self.count >= *attempts) {
            return Decision::GiveUp(format!("it was restarted {} already", times(attempts)));
        }
        let delay = match self.restart.strategy {
            Strategy::Never => return Decision::GiveUp("it is never restarted".to_owned()),
            Strategy::Fixed { delay } => delay,
            Strategy::Exponential { first, factor, max, reset } => {
                self.in_a_row = if ran >= reset { 0 } else { self.in_a_row };
                let delay = first.as_secs_f64() * factor.powf(f64::from(self.in_a_row));
                self.in_a_row += 1;
                // Far out the product is infinite.
                Duration::try_from_secs_f64(delay).unwrap_or(max).min(max)
            }
            Strategy::Rate { failures, per, delay } => {
                self.recent.push_back(now);
                while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) > per) {
                    self.recent.pop_front();
                }
                if self.recent.len() > failures as usize {
                    let found = times(self.recent.len() as u32);
                    return Decision::GiveUp(format!("it failed {found} within {}", Span(per)));
                }
                delay
            }
        };
        self.count += 1;
        Decision::After(delay)
    }
}

fn times(n: u32) -> String {
    match n {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        n => format!("{n} times"),
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.strategy {
            Strategy::Never => f.write_str("never")?,
            Strategy::Fixed { delay } => write!(f, "fixed,delay={}", Span(delay))?,
            Strategy::Exponential { first, factor, max, reset } => {
                write!(
                    f,
                    "exponential,first={},factor={factor},max={},reset={}",
                    Span(first),
                    Span(max),
                    Span(reset)
                )?;
            }
            Strategy::Rate { failures, per, delay } => {
                write!(f, "rate,failures={failures},per={},delay={}", Span(per), Span(delay))?;
            }
        }
        self.attempts.map_or(Ok(()), |attempts| write!(f, ",attempts={attempts}"))
    }
}

impl FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let word = parts.next().unwrap_or_default();
        let mut settings: Vec<(&str, &str)> = Vec::new();
        for part in parts {
            settings.push(
                part.split_once('=').ok_or_else(|| format!("`{part}` is not a setting such as delay=10s"))?,
            );
        }
        let mut take = |name: &str| {
            let at = settings.iter().position(|(found, _)| *found == name)?;
            Some(settings.remove(at).1)
        };
        let attempts = take("attempts").map(number).transpose()?;
        let mut span = |name, default: u64| match take(name) {
            Some(text) => text.parse::<Span>().map(|span| span.0),
            None => Ok(Duration::from_secs(default)),
        };
        let strategy = match word {
            "never" => Strategy::Never,
            "fixed" => Strategy::Fixed { delay: span("delay", 10)? },
            "exponential" => Strategy::Exponential {
                first: span("first", 1)?,
                max: span("max", 60)?,
                reset: span("reset", 3600)?,
                factor: match take("factor") {
                    None => 2.0,
                    Some(text) => text
                        .parse()
                        .ok()
                        .filter(|factor| (1.0..=1000.0).contains(factor))
                        .ok_or_else(|| format!("`{text}` is not a factor from 1 to 1000"))?,
                },
            },
            "rate" => Strategy::Rate {
                per: span("per", 300)?,
                delay: span("delay", 10)?,
                failures: take("failures").map_or(Ok(3), number)?,
            },
            other => {
                return Err(format!(
                    "found the strategy `{other}`, wanted never, fixed, exponential or rate"
                ));
            }
        };
        match settings.first() {
            Some((name, _)) => Err(format!("`{word}` has no setting `{name}`, or it is given twice")),
            None => Ok(Self { strategy, attempts }),
        }
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

/// A length of time as people write it: `250ms`, `10s`, `5m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span(pub(crate) Duration);

const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let whole = UNITS.iter().find(|(_, unit)| ms.is_multiple_of(*unit) && ms >= *unit);
        match whole {
            Some((name, unit)) => write!(f, "{}{name}", ms / unit),
            None => f.write_str("0s"),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time such as 250ms, 10s, 5m or 1h");
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (digits, name) = text.split_at(unit_at);
        let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name).ok_or_else(wrong)?;
        let ms = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(*unit)).ok_or_else(wrong)?;
        Ok(Self(Duration::from_millis(ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn refusal(text: &str) -> String {
        text.parse::<Restart>().unwrap_err()
    }

    #[test]
    fn a_strategy_that_is_none_is_refused_with_what_is_wrong() {
        assert_eq!(refusal(""), "found the strategy ``, wanted never, fixed, exponential or rate");
        assert_eq!(
            refusal("always"),
            "found the strategy `always`, wanted never, fixed, exponential or rate"
        );
        assert_eq!(refusal("fixed,10s"), "`10s` is not a setting such as delay=10s");
        assert_eq!(refusal("fixed,delay=10"), "`10` is not a length of time such as 250ms, 10s, 5m or 1h");
        assert_eq!(refusal("fixed,first=1s"), "`fixed` has no setting `first`, or it is given twice");
        assert_eq!(
            refusal("fixed,delay=1s,delay=2s"),
            "`fixed` has no setting `delay`, or it is given twice"
        );
        assert_eq!(refusal("rate,failures=-1"), "`-1` is not a number");
        assert_eq!(refusal("exponential,factor=nan"), "`nan` is not a factor from 1 to 1000");
        assert!(refusal("fixed,delay=99999999999999999999h").contains("not a length of time"));
    }

    #[test]
    fn a_strategy_reads_back_from_what_it_shows() {
        for text in [
            "never",
            "fixed,delay=250ms",
            "fixed,delay=0s,attempts=3",
            "exponential,first=1s,factor=1.5,max=1m,reset=1h",
            "rate,failures=3,per=5m,delay=90s",
        ] {
            assert_eq!(text.parse::<Restart>().unwrap().to_string(), text);
        }
        let alone: Restart = Restart::ALONE.parse().unwrap();
        assert_eq!(alone, Restart::exponential_backoff(seconds(1), seconds(60)));
    }

    #[test]
    fn a_fixed_delay_ends_with_its_attempts() {
        let mut restarts = Restarts::new(Restart::fixed_delay(seconds(5)).attempts(2));
        let now = Instant::now();
        assert_eq!(restarts.decide(now, seconds(0)), Decision::After(seconds(5)));
        assert_eq!(restarts.decide(now, seconds(9_000)), Decision::After(seconds(5)));
        let Decision::GiveUp(why) = restarts.decide(now, seconds(0)) else { panic!() };
        assert_eq!((why.as_str(), restarts.count()), ("it was restarted twice already", 2));
    }

    #[test]
    fn the_delay_doubles_up_to_its_bound_and_begins_anew_after_an_attempt_that_lasted() {
        let mut restarts = Restarts::new(Restart::exponential_backoff(seconds(1), seconds(6)));
        let now = Instant::now();
        let mut next = |ran| match restarts.decide(now, seconds(ran)) {
            Decision::After(delay) => delay.as_secs(),
            Decision::GiveUp(why) => panic!("{why}"),
        };
        assert_eq!([next(0), next(3599), next(0), next(0)], [1, 2, 4, 6]);
        assert_eq!([next(3600), next(0)], [1, 2]);
        assert!((0..5000).all(|_| next(0) <= 6), "far out the product is infinite");
    }

    #[test]
    fn failures_that_are_too_frequent_end_it_and_those_spread_out_do_not() {
        let mut restarts = Restarts::new(Restart::failure_rate(2, seconds(60), seconds(1)));
        let start = Instant::now();
        for at in [0, 50, 100, 150, 200] {
            assert_eq!(restarts.decide(start + seconds(at), seconds(0)), Decision::After(seconds(1)), "{at}");
        }
        let Decision::GiveUp(why) = restarts.decide(start + seconds(205), seconds(0)) else { panic!() };
        assert_eq!(why, "it failed 3 times within 1m");
    }
}
