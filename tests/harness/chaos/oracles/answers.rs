//! O6 and O8: what the door said, and when things went on.

use std::time::Duration;

use super::Broken;
use crate::chaos::ledger::Answer;
use crate::chaos::run::Run;

/// The sender gives up at ten seconds.
const LONGEST: Duration = Duration::from_secs(8);
/// What a 201 says was true a moment before it arrived.
const GRACE: Duration = Duration::from_millis(500);

/// O6: nothing but 201 and 503, a 503 with a sensible `Retry-After`, each soon, and no promise while the
/// broker could keep none.
pub(super) fn honest(run: &Run) -> Vec<Broken> {
    let answers = run.ledger.answers();
    let rules = &run.rules;
    let expected = |answer: &Answer| match answer.status {
        201 | 503 => true,
        0 => rules.door_may_vanish,
        other => rules.also.contains(&other),
    };
    let shown = |answer: &Answer| {
        format!(
            "{} after {:.1} s, retry-after {:?}",
            answer.status,
            answer.took.as_secs_f64(),
            answer.retry_after
        )
    };
    let pick = |wrong: &dyn Fn(&Answer) -> bool| -> Vec<String> {
        answers.iter().filter(|answer| wrong(answer)).map(shown).collect()
    };
    let unpromising = |answer: &Answer| {
        matches!(answer.status, 429 | 503)
            && !answer.retry_after.is_some_and(|after| (1..=60).contains(&after))
    };
    let impossible = |answer: &Answer| {
        answer.status == 201
            && rules.silences.iter().any(|(from, to)| answer.at > *from + GRACE && answer.at < *to)
    };
    vec![
        Broken::new("O6", "an answer that is neither 201 nor 503", pick(&|answer| !expected(answer))),
        Broken::new("O6", "an answer later than 8 s", pick(&|answer| answer.took > LONGEST)),
        Broken::new("O6", "a refusal without a Retry-After", pick(&unpromising)),
        Broken::new("O6", "a 201 while the broker could confirm nothing", pick(&impossible)),
        Broken::new("O6", "a delivery that was never taken", run.ledger.given_up()),
    ]
}

/// O8: a new delivery was taken and committed soon after the faults.
pub(super) fn recovered(run: &Run) -> Vec<Broken> {
    let late = run.report.recovered.filter(|took| *took > run.rules.recovery);
    let late = late.map(|took| format!("{took:?} instead of {:?}", run.rules.recovery));
    vec![Broken::new("O8", "recovery took too long", late.into_iter().collect())]
}
