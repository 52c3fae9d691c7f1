//! Trace context as text, in the form of W3C's `traceparent`.

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The current span as `00-<trace>-<span>-<flags>`; none when traces are off or this one is not sampled.
pub fn current_traceparent() -> Option<String> {
    let context = tracing::Span::current().context();
    let span = context.span();
    let span = span.span_context();
    (span.is_valid() && span.is_sampled())
        .then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// Links `span` to the one that `traceparent` names, which lies in another process and maybe hours back.
/// Each call adds a link. What is not a `traceparent` is ignored: it came from outside.
pub fn link_to(span: &tracing::Span, traceparent: &str) {
    let context = TraceContextPropagator::new()
        .extract_with_context(&opentelemetry::Context::new(), &Traceparent(traceparent));
    let remote = context.span().span_context().clone();
    if remote.is_valid() {
        span.add_link(remote);
    }
}

struct Traceparent<'a>(&'a str);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().append(&mut batch);
            Ok(())
        }
    }

    fn traced(sampler: Sampler, work: impl FnOnce()) -> Vec<SpanData> {
        let kept = Kept::default();
        let provider =
            SdkTracerProvider::builder().with_sampler(sampler).with_simple_exporter(kept.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        kept.0.lock().unwrap().clone()
    }

    #[test]
    fn a_later_span_is_linked_to_the_one_that_was_written_into_the_envelope() {
        let spans = traced(Sampler::AlwaysOn, || {
            let traceparent = tracing::info_span!("receive").in_scope(current_traceparent).unwrap();
            assert_eq!((traceparent.len(), &traceparent[..3], &traceparent[52..]), (55, "00-", "-01"));
            link_to(&tracing::info_span!("process"), &traceparent);
        });
        let [receive, process] = spans.as_slice() else { panic!("{spans:?}") };
        let link = &process.links.links[0].span_context;
        assert_eq!(link.span_id(), receive.span_context.span_id());
        assert_eq!(link.trace_id(), receive.span_context.trace_id());
        assert_ne!(process.span_context.trace_id(), receive.span_context.trace_id());
    }

    #[test]
    fn what_is_no_traceparent_links_nothing() {
        let spans = traced(Sampler::AlwaysOn, || {
            let span = tracing::info_span!("process");
            for text in
                ["", "00", "00-00000000000000000000000000000000-0000000000000000-01", "ff-é", "00-xyz-1-01"]
            {
                link_to(&span, text);
            }
        });
        assert!(spans[0].links.links.is_empty());
    }

    #[test]
    fn there_is_no_traceparent_without_traces_or_without_sampling() {
        assert_eq!(current_traceparent(), None);
        let spans = traced(Sampler::AlwaysOff, || {
            assert_eq!(tracing::info_span!("receive").in_scope(current_traceparent), None);
        });
        assert!(spans.is_empty());
    }
}
