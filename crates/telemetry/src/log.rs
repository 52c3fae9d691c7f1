//! What a log line looks like and which are written.

use std::fmt;
use std::io::IsTerminal as _;
use std::str::FromStr;

use anyhow::Context as _;
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Filter;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

/// Our own lines from `info`, and what goes wrong inside the exporters.
const DEFAULT_FILTER: &str =
    "info,opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry-otlp=warn,opentelemetry_otlp=warn";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people: one line, in colour on a terminal unless `NO_COLOR` is set.
    Text,
    /// For machines: one JSON object per line, the event's fields beside `timestamp`, `level`, `target` and
    /// `message`.
    Json,
    /// Text when standard error is a terminal, else JSON. The default.
    #[default]
    Auto,
}

/// A `LOG_FORMAT` that is none.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownLogFormat(String);

impl fmt::Display for UnknownLogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read as {:?}; accepted: text or json (or auto: text on a terminal, else json)", self.0)
    }
}

impl std::error::Error for UnknownLogFormat {}

impl FromStr for LogFormat {
    type Err = UnknownLogFormat;

    fn from_str(text: &str) -> Result<Self, UnknownLogFormat> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "auto" | "" => Ok(Self::Auto),
            other => Err(UnknownLogFormat(other.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Auto => "auto",
        })
    }
}

/// What passes both `RUST_LOG` and the `quiet` directives.
///
/// The second is a filter of its own: within one, a directive for a span (`[process]=debug`) would let
/// everything through that happens inside it.
///
/// Spans are for traces. A line names what it is about in fields of its own: formatting a span for each delivery
/// and each message, for lines that are rarely written, was a tenth of the processor's time.
pub(crate) fn filter<S>(given: Option<&str>, quiet: &[&str]) -> anyhow::Result<impl Filter<S> + use<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let directives = given.filter(|text| !text.trim().is_empty()).unwrap_or(DEFAULT_FILTER);
    let wanted = EnvFilter::builder().parse(directives).with_context(|| {
        format!("RUST_LOG: read as {directives:?}; accepted: directives such as info,rollcall_queue=debug")
    })?;
    let mut allowed = Targets::new();
    for directives in quiet {
        let parsed: Targets =
            directives.parse().with_context(|| format!("quiet directives {directives:?}"))?;
        allowed = allowed.with_targets(parsed);
    }
    Ok(wanted.and(allowed.with_default(LevelFilter::TRACE)).and(filter_fn(|metadata| metadata.is_event())))
}

pub(crate) fn layer<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).log_internal_errors(false);
    match format {
        LogFormat::Text => text(lines, terminal),
        LogFormat::Auto if terminal => text(lines, terminal),
        LogFormat::Json | LogFormat::Auto => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    }
}

fn text<S, W>(
    lines: tracing_subscriber::fmt::Layer<
        S,
        tracing_subscriber::fmt::format::DefaultFields,
        tracing_subscriber::fmt::format::Format,
        W,
    >,
    terminal: bool,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    lines.with_ansi(colour).boxed()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, rust_log: Option<&str>, quiet: &[&str], work: impl FnOnce()) -> String {
        let lines = Lines::default();
        let sink = lines.clone();
        let layer = layer(format, move || sink.clone()).with_filter(filter(rust_log, quiet).unwrap());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_with_the_fields_beside_the_message() {
        let text = logged(LogFormat::Json, None, &[], || {
            let span = tracing::info_span!("process", delivery.id = "msg_1");
            assert!(span.is_disabled(), "a span costs something without traces");
            let _entered = span.enter();
            tracing::info!(event.id = "evt_1", attempt = 2, outcome = "done", "settled \"it\"\nwell");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in [
            r#""level":"INFO""#,
            r#""message":"settled \"it\"\nwell""#,
            r#""event.id":"evt_1""#,
            r#""attempt":2"#,
            r#""outcome":"done""#,
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(text.starts_with('{') && !text.contains("\"fields\""), "{text}");
    }

    #[test]
    fn a_text_line_carries_the_same_fields_without_colour_when_there_is_no_terminal() {
        let text = logged(LogFormat::Text, None, &[], || {
            tracing::warn!(attempt = 2, "try again");
        });
        assert!(text.contains("WARN") && text.contains("try again") && text.contains("attempt=2"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_library_that_logs_bodies_stays_quiet_whatever_rust_log_says() {
        let quiet = &["lapin::returned_messages=off,noisy=error"];
        for given in [
            None,
            Some(""),
            Some("trace"),
            Some("lapin=trace"),
            Some("info,lapin::returned_messages=trace"),
            Some("info,[process]=trace"),
        ] {
            let text = logged(LogFormat::Json, given, quiet, || {
                let _entered = tracing::info_span!("process").entered();
                tracing::warn!(target: "lapin::returned_messages", "ada@example.com");
                tracing::warn!(target: "noisy", "ada@example.com");
                tracing::warn!(target: "lapin::channel", "kept");
            });
            assert!(!text.contains("ada@"), "{given:?}: {text}");
            assert!(text.contains("kept"), "{given:?}: {text}");
        }
    }

    #[test]
    fn without_rust_log_info_is_written_and_debug_is_not() {
        let text = logged(LogFormat::Json, Some(" "), &[], || {
            tracing::info!("seen");
            tracing::debug!("unseen");
        });
        assert!(text.contains("\"seen\"") && !text.contains("unseen"), "{text}");
    }

    #[test]
    fn a_wrong_value_is_shown_with_what_is_accepted() {
        let error = format!("{:#}", filter::<Registry>(Some("rollcall=loud"), &[]).err().unwrap());
        assert!(error.starts_with("RUST_LOG: read as \"rollcall=loud\"; accepted:"), "{error}");
        let error = "xml".parse::<LogFormat>().unwrap_err().to_string();
        assert!(error.starts_with("read as \"xml\"; accepted: text or json"), "{error}");
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert_eq!("".parse(), Ok(LogFormat::Auto));
    }
}
