//! The log of a job's own command line: what the engine and the job's code tell through `tracing`, on standard error.

use crate::error::Error;
use clap::ValueEnum;
use std::fmt;
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// How this process writes its log, once that is settled.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Lets events be written from now on; a job that has a subscriber of its own keeps it.
///
/// # Errors
///
/// What is wrong with the levels that the environment asks for.
pub(super) fn start(format: LogFormat) -> Result<(), String> {
    let asked = |name| std::env::var(name).ok();
    let levels = match asked("PITLANE_LOG") {
        Some(text) => levels(&text).map_err(|e| format!("PITLANE_LOG: {e}"))?,
        // It may be meant for other programs too, which understand more.
        None => asked("RUST_LOG")
            .and_then(|text| levels(&text).ok())
            .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO)),
    };
    let layers = tracing_subscriber::registry().with(levels);
    let started = match format {
        LogFormat::Text => {
            let text = tracing_subscriber::fmt::layer()
                .event_format(Text { is_seen: std::io::stderr().is_terminal() });
            layers.with(text.with_writer(std::io::stderr)).try_init()
        }
        LogFormat::Json => {
            let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
            layers.with(json.with_writer(std::io::stderr)).try_init()
        }
    };
    let _ = FORMAT.set(if started.is_ok() { format } else { LogFormat::Text });
    Ok(())
}

fn levels(text: &str) -> Result<Targets, String> {
    // To the parser nothing at all is a level, and a word that is none is a module.
    let is_level = |part: &str| {
        let level = part.rsplit('=').next().unwrap_or_default().trim();
        !level.is_empty() && level.parse::<LevelFilter>().is_ok()
    };
    let parsed = text.split(',').all(is_level).then(|| text.parse().ok()).flatten();
    parsed.ok_or_else(|| {
        format!(
            "found `{text}`, wanted a level (error, warn, info, debug, trace, off) or levels by module, such as \
             `info,pitlane::engine=debug`"
        )
    })
}

/// Says what has ended a job: as an error for people, or as an event.
pub(super) fn report(job: &str, error: &Error) {
    if FORMAT.get() == Some(&LogFormat::Json) {
        let hint = error.hint();
        return tracing::error!(job, hint, "{}", crate::engine::with_causes(error));
    }
    // Where there is nobody to tell, there is nothing to do about it.
    let _ = error.report(&mut std::io::stderr());
}

/// A line for people: `12:03:44 checkpoint 12 is committed`, with the level where it is not the usual one.
struct Text {
    /// Whether somebody looks on, who knows the date and likes colours.
    is_seen: bool,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (days, in_day) = ((now.as_secs() / 86_400) as i64, now.as_secs() % 86_400);
        if !self.is_seen {
            let (year, month, day) = crate::model::time::civil(days);
            write!(out, "{year:04}-{month:02}-{day:02}T")?;
        }
        write!(
            out,
            "{:02}:{:02}:{:02}{} ",
            in_day / 3600,
            in_day / 60 % 60,
            in_day % 60,
            if self.is_seen { "" } else { "Z" }
        )?;
        let level = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        out.write_str(level)?;
        // An event of ours says all in its message; one of the job's own code may say it in its fields.
        if event.metadata().target().split("::").next() == Some("pitlane") {
            event.record(&mut Message(&mut out));
        } else {
            context.field_format().format_fields(out.by_ref(), event)?;
        }
        writeln!(out)
    }
}

/// Writes the message of an event, and nothing else of it.
struct Message<'a, 'w>(&'a mut Writer<'w>);

impl Visit for Message<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // What cannot be written here is noticed when the line ends.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_are_none_are_refused_with_what_is_wanted() {
        for text in ["loud", "", "info,", "info,pitlane=loud", "pitlane="] {
            let error = levels(text).unwrap_err();
            assert!(error.starts_with(&format!("found `{text}`, wanted a level (error, warn, ")), "{error}");
        }
        assert!(levels("warn,pitlane::engine=debug").is_ok());
    }
}
