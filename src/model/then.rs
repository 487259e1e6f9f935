//! Builds, rollouts, freezes and rows of histories as they were at a moment, which their recorded times tell: what came later is not told.

use super::{Build, BuildPhase, Freeze, Moment, RolloutPhase, RolloutRow, TagEvent};

impl Moment {
    /// A time that had come by then.
    pub fn had(&self, at: Option<i64>) -> Option<i64> {
        at.filter(|at| *at < self.end)
    }
}

impl BuildPhase {
    /// The phase of a build that has this one now. No time is kept of [`BuildPhase::Pending`]: until it runs it is told as New.
    #[must_use]
    pub fn then(self, moment: &Moment, started_at: Option<i64>, finished_at: Option<i64>) -> Self {
        match (moment.had(started_at), moment.had(finished_at)) {
            (_, Some(_)) => self,
            (Some(_), None) => Self::Running,
            (None, None) => Self::New,
        }
    }
}

impl Build {
    /// As it was at a moment by which it had been requested.
    #[must_use]
    pub fn then(self, moment: &Moment) -> Self {
        let phase = self.phase.then(moment, self.started_at, self.finished_at);
        let cancel_requested_at = moment.had(self.cancel_requested_at);
        let known = Self {
            phase,
            started_at: moment.had(self.started_at),
            cancel_requested_by: self.cancel_requested_by.filter(|_| cancel_requested_at.is_some()),
            cancel_requested_at,
            ..self
        };
        if phase.is_final() {
            return known;
        }
        // What it takes in is looked up again while it runs, and what it had been requested with is not kept.
        let inputs = if phase == BuildPhase::New { "[]".to_owned() } else { known.inputs };
        Self {
            inputs,
            reason: None,
            message: None,
            revision: None,
            steps: "[]".to_owned(),
            output_digest: None,
            output_sequence: None,
            finished_at: None,
            log_lines: 0,
            ..known
        }
    }
}

impl RolloutRow {
    /// As it was at a moment by which it had been requested.
    #[must_use]
    pub fn then(self, moment: &Moment) -> Self {
        let started_at = moment.had(self.started_at);
        if moment.had(self.finished_at).is_some() {
            return self;
        }
        let phase = if started_at.is_some() { RolloutPhase::Running } else { RolloutPhase::Pending };
        Self { phase, started_at, finished_at: None, message: None, ..self }
    }
}

impl Freeze {
    /// As it was at a moment by which it had been made.
    #[must_use]
    pub fn then(self, moment: &Moment) -> Self {
        let ended_at = moment.had(self.ended_at);
        Self { ended_by: self.ended_by.filter(|_| ended_at.is_some()), ended_at, ..self }
    }
}

impl TagEvent {
    /// As it was at a moment by which it had been written. Only the last time is kept that the same was attempted again: where that is later,
    /// nothing is told of any. Whether its image is whole was looked at since.
    #[must_use]
    pub fn then(self, moment: &Moment) -> Self {
        let repeated_at = moment.had(self.repeated_at);
        Self { repeats: if repeated_at.is_some() { self.repeats } else { 0 }, repeated_at, problem: None, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(end: i64) -> Moment {
        Moment { end, text: String::new(), words: String::new() }
    }

    #[test]
    fn a_phase_follows_from_the_times() {
        use BuildPhase::{Cancelled, Complete, New, Pending, Running};
        for (now, started, finished, end, then) in [
            (Complete, Some(20), Some(30), 20, New),
            (Complete, Some(20), Some(30), 21, Running),
            (Complete, Some(20), Some(30), 30, Running),
            (Complete, Some(20), Some(30), 31, Complete),
            (Cancelled, None, Some(30), 30, New),
            (Cancelled, None, Some(30), 31, Cancelled),
            (Running, Some(20), None, 20, New),
            (Running, Some(20), None, 99, Running),
            (Pending, None, None, 99, New),
        ] {
            assert_eq!(now.then(&moment(end), started, finished), then, "{now} at {end}");
        }
    }

    #[test]
    fn of_a_row_nothing_is_told_that_came_later() {
        let row =
            TagEvent { repeats: 3, repeated_at: Some(20), problem: Some("a layer".to_owned()), ..TagEvent::sample() };
        let told = |end: i64| {
            let then = row.clone().then(&moment(end));
            (then.repeats, then.repeated_at, then.problem)
        };
        assert_eq!(told(21), (3, Some(20), None));
        assert_eq!(told(20), (0, None, None), "how often by then is not known");
    }
}
