//! Pushing to a collector, when the environment asks for it.

use anyhow::{Context as _, bail, ensure};
use opentelemetry_otlp::{MetricExporter, SpanExporter};

/// Gives the value of an environment variable, if it is set and is text.
pub(crate) type Environment = dyn Fn(&str) -> Option<String>;

/// What pushes; none where nothing is to be pushed.
pub(crate) struct Exporters {
    pub(crate) traces: Option<SpanExporter>,
    pub(crate) metrics: Option<MetricExporter>,
}

/// The exporters that the environment asks for. Time-outs, headers and intervals are read by the SDK itself.
pub(crate) fn exporters(environment: &Environment) -> anyhow::Result<Exporters> {
    let traces = is_pushed(environment, "TRACES")?;
    let metrics = is_pushed(environment, "METRICS")?;
    if traces || metrics {
        // The client panics without a provider, even for plain HTTP. An error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    Ok(Exporters {
        traces: traces
            .then(|| SpanExporter::builder().with_http().build())
            .transpose()
            .context("OTEL_EXPORTER_OTLP_*, traces")?,
        metrics: metrics
            .then(|| MetricExporter::builder().with_http().build())
            .transpose()
            .context("OTEL_EXPORTER_OTLP_*, metrics")?,
    })
}

/// Whether a signal is pushed; an error if in a way that is not built in. No message shows an endpoint: it may
/// hold a password.
fn is_pushed(environment: &Environment, signal: &str) -> anyhow::Result<bool> {
    if get(environment, "OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    match get(environment, &format!("OTEL_{signal}_EXPORTER")).as_deref() {
        Some("none") => return Ok(false),
        None | Some("otlp") => {}
        Some(other) => bail!("OTEL_{signal}_EXPORTER: read as {other:?}; accepted: otlp or none"),
    }
    let Some((name, endpoint)) = of_signal(environment, signal, "ENDPOINT") else { return Ok(false) };
    ensure!(
        endpoint.starts_with("http://") || endpoint.starts_with("https://"),
        "{name}: not an address of HTTP; accepted: a collector such as http://127.0.0.1:4318 or https://collector.example"
    );
    if let Some((name, protocol)) = of_signal(environment, signal, "PROTOCOL") {
        ensure!(protocol == "http/protobuf", "{name}: read as {protocol:?}; accepted: http/protobuf");
    }
    Ok(true)
}

/// The variable of one signal, else the one for all.
fn of_signal(environment: &Environment, signal: &str, what: &str) -> Option<(String, String)> {
    [format!("OTEL_EXPORTER_OTLP_{signal}_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")]
        .into_iter()
        .find_map(|name| get(environment, &name).map(|value| (name, value)))
}

/// Empty means not set, as the specification of these variables wants it.
fn get(environment: &Environment, name: &str) -> Option<String> {
    environment(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(variables: &'static [(&str, &str)]) -> Result<(bool, bool), String> {
        let environment = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let signal = |signal| is_pushed(&environment, signal).map_err(|error| error.to_string());
        Ok((signal("TRACES")?, signal("METRICS")?))
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn nothing_leaves_the_process_unless_an_endpoint_is_named() {
        assert_eq!(pushed(&[]), Ok((false, false)));
        assert_eq!(pushed(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok((false, false)));
        assert_eq!(pushed(&[ENDPOINT]), Ok((true, true)));
        assert_eq!(
            pushed(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://x/v1/metrics")]),
            Ok((false, true))
        );
    }

    #[test]
    fn the_sdk_or_one_signal_can_be_switched_off() {
        assert_eq!(pushed(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), Ok((false, false)));
        assert_eq!(pushed(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]), Ok((true, true)));
        assert_eq!(pushed(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok((false, true)));
    }

    #[test]
    fn what_is_not_built_in_is_refused_by_name_and_without_the_endpoint() {
        let address = pushed(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317/hunter2")]).unwrap_err();
        assert!(
            address.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: ") && !address.contains("hunter2"),
            "{address}"
        );
        let grpc = pushed(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        assert_eq!(grpc, "OTEL_EXPORTER_OTLP_PROTOCOL: read as \"grpc\"; accepted: http/protobuf");
        let zipkin = pushed(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "zipkin")]).unwrap_err();
        assert!(zipkin.starts_with("OTEL_TRACES_EXPORTER: read as \"zipkin\""), "{zipkin}");
    }
}
