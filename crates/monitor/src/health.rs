//! Health checks: what is checked, and what follows from a result. Nothing is done here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The name of the document about a container's health: in its run directory while it runs, then in its own.
pub const FILE: &str = "health.json";
/// How long is waited between checks in the start period if nothing else is said (Docker's time).
const START_INTERVAL: Duration = Duration::from_secs(5);

/// How a container's health is checked. Times are in nanoseconds, as images have them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// What runs, with its arguments.
    pub test: Vec<String>,
    /// The same as it was said: `CMD` and that, or `CMD-SHELL` and a text for a shell.
    pub said: Vec<String>,
    /// Between the end of one check and the next; 0 is never by itself.
    pub interval: u64,
    /// How long one may take.
    pub timeout: u64,
    /// How long after its start failures do not count, unless it was healthy before.
    pub start_period: u64,
    /// Instead of the interval, in the start period; 0 is five seconds.
    pub start_interval: u64,
    /// So many failures in a row, and it is unhealthy.
    pub retries: u32,
    /// What is done then.
    pub on_failure: OnFailure,
    /// What must succeed before the others begin.
    pub startup: Option<Startup>,
    /// What is kept of results.
    pub log: HealthLog,
}

/// What is kept of results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthLog {
    /// How many; 0 is all.
    pub count: u32,
    /// How many bytes of what each wrote; 0 is all.
    pub size: u32,
    /// A directory for them besides.
    pub directory: Option<std::path::PathBuf>,
    /// They are told as events, too.
    pub events: bool,
    /// What they come to is not told either.
    pub quiet: bool,
}

impl Default for HealthLog {
    fn default() -> Self {
        Self { count: 5, size: 500, directory: None, events: false, quiet: false }
    }
}

impl Default for Health {
    fn default() -> Self {
        let seconds = |n: u64| n * 1_000_000_000;
        Self {
            test: Vec::new(),
            said: Vec::new(),
            interval: seconds(30),
            timeout: seconds(30),
            start_period: 0,
            start_interval: 0,
            retries: 3,
            on_failure: OnFailure::None,
            startup: None,
            log: HealthLog::default(),
        }
    }
}

/// What must succeed before the other checks begin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Startup {
    /// What runs, with its arguments.
    pub test: Vec<String>,
    /// The same as it was said, as in [`Health`].
    pub said: Vec<String>,
    /// Between the end of one check and the next.
    pub interval: u64,
    /// How long one may take.
    pub timeout: u64,
    /// So many failures, and the container is started again; 0 is never.
    pub retries: u32,
    /// So many successes in a row are needed; 0 is one.
    pub success: u32,
}

/// What is done when a container becomes unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Nothing.
    #[default]
    None,
    /// It is killed.
    Kill,
    /// It is started again.
    Restart,
    /// It is stopped.
    Stop,
}

impl OnFailure {
    /// The word users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Stop => "stop",
        }
    }
}

/// How a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Nothing is known yet.
    #[default]
    Starting,
    /// Its last check succeeded.
    Healthy,
    /// Too many checks in a row failed.
    Unhealthy,
    /// The container ended while it was checked.
    Stopped,
}

impl HealthStatus {
    /// The word users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Stopped => "stopped",
        }
    }
}

/// What is known of a container's health, as Podman and Docker show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Report {
    /// How it is.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last results, the oldest first.
    pub log: Vec<HealthResult>,
}

/// One result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HealthResult {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// 0 is good.
    pub exit_code: i32,
    /// What it wrote.
    pub output: String,
}

/// What a container's checks have come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) report: Report,
    /// The start-up check has succeeded.
    started_up: bool,
    successes: u32,
    failures: u32,
}

/// What follows from a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing has changed.
    Same,
    /// It has another status.
    Changed,
    /// It has become unhealthy.
    Failed(OnFailure),
}

impl Checks {
    fn startup<'h>(&self, health: &'h Health) -> Option<&'h Startup> {
        health.startup.as_ref().filter(|_| !self.started_up)
    }

    /// What is run next, and how long it may take.
    pub(crate) fn next<'h>(&self, health: &'h Health) -> (&'h [String], Duration) {
        let (test, timeout) = match self.startup(health) {
            Some(startup) => (&startup.test, startup.timeout),
            None => (&health.test, health.timeout),
        };
        (test, if timeout == 0 { Duration::MAX } else { Duration::from_nanos(timeout) })
    }

    /// How long until then, of a container that has run for so long.
    pub(crate) fn wait(&self, health: &Health, ran: Duration) -> Option<Duration> {
        let interval = match self.startup(health) {
            Some(startup) => startup.interval,
            None if self.in_start_period(health, ran) => match health.start_interval {
                0 => health.interval.min(START_INTERVAL.as_nanos() as u64),
                interval => interval,
            },
            None => health.interval,
        };
        (interval > 0).then(|| Duration::from_nanos(interval))
    }

    fn in_start_period(&self, health: &Health, ran: Duration) -> bool {
        self.report.status == HealthStatus::Starting && ran < Duration::from_nanos(health.start_period)
    }

    /// The container ended while it was checked, which says nothing of it.
    pub(crate) fn note_end(&mut self) {
        (self.report.status, self.report.failing_streak) = (HealthStatus::Stopped, 0);
    }

    /// Takes a result in.
    pub(crate) fn note(&mut self, health: &Health, result: HealthResult, ran: Duration) -> Outcome {
        let good = result.exit_code == 0;
        let before = self.report.status;
        let outcome = match self.startup(health) {
            Some(startup) => self.note_startup(startup, good),
            None => self.note_check(health, good, ran),
        };
        let kept = if health.log.count == 0 { usize::MAX } else { health.log.count as usize };
        self.report.log.push(result);
        let surplus = self.report.log.len().saturating_sub(kept);
        self.report.log.drain(..surplus);
        match outcome {
            Outcome::Same if self.report.status != before => Outcome::Changed,
            outcome => outcome,
        }
    }

    fn note_startup(&mut self, startup: &Startup, good: bool) -> Outcome {
        if good {
            (self.successes, self.failures, self.report.failing_streak) = (self.successes + 1, 0, 0);
            self.started_up = self.successes >= startup.success.max(1);
            return Outcome::Same;
        }
        (self.successes, self.failures) = (0, self.failures + 1);
        self.report.failing_streak = self.failures;
        if startup.retries > 0 && self.failures >= startup.retries {
            self.failures = 0;
            return Outcome::Failed(OnFailure::Restart);
        }
        Outcome::Same
    }

    fn note_check(&mut self, health: &Health, good: bool, ran: Duration) -> Outcome {
        if good {
            (self.report.status, self.report.failing_streak) = (HealthStatus::Healthy, 0);
        } else if !self.in_start_period(health, ran) {
            self.report.failing_streak += 1;
            if self.report.failing_streak >= health.retries.max(1)
                && self.report.status != HealthStatus::Unhealthy
            {
                self.report.status = HealthStatus::Unhealthy;
                return Outcome::Failed(health.on_failure);
            }
        }
        Outcome::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const LATE: Duration = Duration::from_secs(3600);

    fn result(exit_code: i32) -> HealthResult {
        HealthResult { exit_code, ..HealthResult::default() }
    }

    fn after(checks: &mut Checks, health: &Health, results: &[i32], ran: Duration) -> Vec<Outcome> {
        results.iter().map(|code| checks.note(health, result(*code), ran)).collect()
    }

    #[test]
    fn failures_in_a_row_count_and_one_success_heals() {
        use Outcome::{Changed, Failed, Same};
        let health = Health { on_failure: OnFailure::Kill, ..Health::default() };
        let mut checks = Checks::default();
        let outcomes = after(&mut checks, &health, &[0, 1, 1, 0, 1, 1, 1, 1, 0, 0], LATE);
        let failed = Failed(OnFailure::Kill);
        assert_eq!(outcomes, [Changed, Same, Same, Same, Same, Same, failed, Same, Changed, Same]);
        assert_eq!((checks.report.status, checks.report.failing_streak), (HealthStatus::Healthy, 0));
        let codes: Vec<i32> = checks.report.log.iter().map(|entry| entry.exit_code).collect();
        assert_eq!(codes, [1, 1, 1, 0, 0]);
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_before_the_first_success() {
        let health = Health { start_period: 60 * SECOND, retries: 1, ..Health::default() };
        let early = Duration::from_secs(59);
        let mut checks = Checks::default();
        assert_eq!(after(&mut checks, &health, &[1, 1, 1], early), [Outcome::Same; 3]);
        assert_eq!(checks.wait(&health, early), Some(START_INTERVAL));
        assert_eq!(checks.wait(&health, LATE), Some(Duration::from_secs(30)));
        assert_eq!(after(&mut checks.clone(), &health, &[1], LATE), [Outcome::Failed(OnFailure::None)]);
        assert_eq!(after(&mut checks, &health, &[0, 1], early)[1], Outcome::Failed(OnFailure::None));
    }

    #[test]
    fn a_start_up_check_comes_first_and_may_restart() {
        let startup = Startup {
            test: vec!["up".into()],
            interval: SECOND,
            retries: 2,
            success: 2,
            ..Startup::default()
        };
        let health = Health { test: vec!["well".into()], startup: Some(startup), ..Health::default() };
        let mut checks = Checks::default();
        assert_eq!(checks.next(&health), (["up".to_owned()].as_slice(), Duration::MAX));
        assert_eq!(checks.wait(&health, LATE), Some(Duration::from_secs(1)));
        let failed = Outcome::Failed(OnFailure::Restart);
        assert_eq!(after(&mut checks, &health, &[1, 1], LATE), [Outcome::Same, failed]);
        assert_eq!(after(&mut checks, &health, &[0, 1, 0, 0], LATE), [Outcome::Same; 4]);
        assert_eq!(checks.next(&health), (["well".to_owned()].as_slice(), Duration::from_secs(30)));
        assert_eq!(checks.report.status, HealthStatus::Starting);
        assert_eq!(after(&mut checks, &health, &[0], LATE), [Outcome::Changed]);
    }

    #[test]
    fn a_check_without_an_interval_is_only_run_by_hand() {
        let health = Health { interval: 0, ..Health::default() };
        assert_eq!(Checks::default().wait(&health, LATE), None);
    }
}
