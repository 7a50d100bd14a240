//! The spans of calls, at debug level. A span that nobody wants costs a comparison: it is not made, and takes a pointer's
//! place.

use tracing::{Span, field::Empty, level_filters::LevelFilter, span::Entered};

use super::peers::error_chain;
use crate::{
    error::CallError,
    id::{ActorName, ServerId},
    trace::TraceContext,
};

/// The span of a call at one of its sides, if it is wanted.
pub(super) struct CallSpan(Option<Box<Span>>);

/// What a span says of its call.
pub(super) struct Parts<'a> {
    pub(super) from: &'a ServerId,
    /// The other server at the caller's side, the own one at the receiver's.
    pub(super) to: &'a ServerId,
    pub(super) actor: &'a ActorName,
    pub(super) message: &'static str,
    pub(super) trace: Option<TraceContext>,
}

fn is_wanted() -> bool {
    LevelFilter::current() >= LevelFilter::DEBUG
}

impl CallSpan {
    pub(super) const NONE: Self = Self(None);

    /// At the caller's side.
    #[inline]
    pub(super) fn of_call<'a>(is_post: bool, parts: impl FnOnce() -> Parts<'a>) -> Self {
        if is_wanted() { Self::call(is_post, &parts()) } else { Self::NONE }
    }

    /// At the receiver's side.
    #[inline]
    pub(super) fn of_service<'a>(parts: impl FnOnce() -> Parts<'a>) -> Self {
        if is_wanted() { Self::service(&parts()) } else { Self::NONE }
    }

    #[cold]
    fn call(is_post: bool, parts: &Parts<'_>) -> Self {
        Self::of(tracing::debug_span!(
            "call",
            from = %parts.from,
            to = %parts.to,
            actor = %parts.actor,
            message = parts.message,
            is_post,
            trace_id = parts.trace.map(|trace| display(trace.shown_id())),
            outcome = Empty,
        ))
    }

    #[cold]
    fn service(parts: &Parts<'_>) -> Self {
        Self::of(tracing::debug_span!(
            "serve",
            at = %parts.to,
            from = %parts.from,
            actor = %parts.actor,
            message = parts.message,
            trace_id = parts.trace.map(|trace| display(trace.shown_id())),
            outcome = Empty,
        ))
    }

    fn of(span: Span) -> Self {
        Self((!span.is_disabled()).then(|| Box::new(span)))
    }

    #[inline]
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        self.0.as_ref().map(|span| span.enter())
    }

    /// How the call has ended, in a word.
    #[inline]
    pub(super) fn ended(&self, outcome: &'static str) {
        if let Some(span) = &self.0 {
            span.record("outcome", outcome);
        }
    }

    /// How the call has ended for its caller.
    #[inline]
    pub(super) fn ended_with(&self, error: Option<&CallError>) {
        if let Some(span) = &self.0 {
            span.record("outcome", error.map_or_else(|| "ok".to_owned(), |why| error_chain(why)));
        }
    }
}
