//! What comes after an end. Nothing is done here.

use std::time::Duration;

use crate::supervision::Restart;

/// The first wait before a container is started again; each further one is twice as long (Docker's times).
const FIRST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);
/// What has run so long begins with the first wait again.
const LONG_ENOUGH: Duration = Duration::from_secs(10);

/// How a container came to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// It did not end with 0, or could not be started again.
    pub(crate) failed: bool,
    /// Somebody asked for it.
    pub(crate) stopped: bool,
    /// How long it ran.
    pub(crate) ran: Duration,
    /// How often it was started again before.
    pub(crate) restarts: u32,
    /// How long the last of these was waited for; zero if there was none.
    pub(crate) waited: Duration,
}

/// After which time a container is started again, if it is.
pub(crate) fn restart_after(policy: Restart, ended: Ended) -> Option<Duration> {
    let again = match policy {
        Restart::No => false,
        Restart::OnFailure(most) => ended.failed && most.is_none_or(|most| ended.restarts < most),
        Restart::Always | Restart::UnlessStopped => true,
    };
    let wait = match ended.waited {
        _ if ended.ran >= LONG_ENOUGH => FIRST,
        Duration::ZERO => FIRST,
        last => (last * 2).min(LONGEST),
    };
    (again && !ended.stopped).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Ended =
        Ended { failed: false, stopped: false, ran: Duration::ZERO, restarts: 0, waited: Duration::ZERO };

    #[test]
    fn a_policy_decides_by_how_it_ended() {
        use Restart::{Always, No, OnFailure, UnlessStopped};
        let failed = Ended { failed: true, ..END };
        let third = Ended { restarts: 2, ..failed };
        let cases = [
            (No, failed, false),
            (OnFailure(None), END, false),
            (OnFailure(None), third, true),
            (OnFailure(Some(3)), third, true),
            (OnFailure(Some(2)), third, false),
            (OnFailure(Some(0)), failed, false),
            (Always, END, true),
            (UnlessStopped, END, true),
        ];
        for (policy, ended, again) in cases {
            assert_eq!(restart_after(policy, ended).is_some(), again, "{policy:?} {ended:?}");
            assert_eq!(restart_after(policy, Ended { stopped: true, ..ended }), None, "{policy:?}");
        }
    }

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_ten_seconds() {
        let mut waited = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..12 {
            waited = restart_after(Restart::Always, Ended { waited, ..END }).unwrap();
            waits.push(waited.as_millis());
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        let long = Ended { waited, ran: Duration::from_secs(10), ..END };
        assert_eq!(restart_after(Restart::Always, long), Some(FIRST));
    }
}
