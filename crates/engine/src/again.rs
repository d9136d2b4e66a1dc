//! Trying again what went wrong on the way.

use std::time::Duration;

use crate::Error;

/// How often, when nobody says it: what containers.conf(5) has for `retry`.
const TIMES: u32 = 3;
/// How long is waited before when nobody says it: first so long, as containers.conf(5) has it, then twice as long each time.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);

/// How often what failed on its way is tried again, and how long is waited before. Each try has tried single requests again already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// After what may pass. When nobody says it, three times, but not where nobody is there, nor where it was waited for long already.
    pub times: Option<u32>,
    /// Each time the same. When nobody says it, or it is zero, from two seconds on, twice as long each time.
    pub delay: Option<Duration>,
}

impl Again {
    /// This; and where it says nothing, what `other` says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { times: self.times.or(other.times), delay: self.delay.or(other.delay) }
    }

    /// Takes a step, and again after failures, as often as there is hope; `tell` hears before each wait.
    ///
    /// # Errors
    /// Those of the last step.
    pub fn run<T>(
        self,
        tell: impl Fn(Duration, &Error),
        mut step: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let fixed = self.delay.filter(|delay| !delay.is_zero());
        let mut delay = fixed.unwrap_or(FIRST);
        for _ in 0..self.times.unwrap_or(TIMES) {
            match step() {
                Err(error) if self.hopes(&error) => tell(delay, &error),
                outcome => return outcome,
            }
            std::thread::sleep(delay);
            delay = fixed.unwrap_or_else(|| delay.saturating_mul(2).min(LONGEST));
        }
        step()
    }

    fn hopes(self, error: &Error) -> bool {
        if self.times.is_some() { error.may_pass() } else { error.may_pass_soon() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> Error {
        let source = std::io::ErrorKind::ConnectionRefused.into();
        loment_registry::Error::Unreachable { host: "h".into(), source }.into()
    }

    fn busy() -> Error {
        let (object, host, detail) = ("x".into(), "h".into(), String::new());
        loment_registry::Error::Status { object, host, status: 503, detail, wait: None }.into()
    }

    /// How often a step is taken that always fails.
    fn steps(again: Again, error: fn() -> Error) -> u32 {
        let mut count = 0;
        let failed: Result<(), Error> = again.run(
            |_, _| (),
            || {
                count += 1;
                Err(error())
            },
        );
        failed.unwrap_err();
        count
    }

    #[test]
    fn what_may_pass_is_tried_again_as_often_as_is_said() {
        let shortly = Again { times: None, delay: Some(Duration::from_millis(1)) };
        assert_eq!(steps(shortly, busy), 4);
        // Who is not there is waited for when somebody says so.
        assert_eq!(steps(shortly, gone), 1);
        for error in [gone, busy] {
            assert_eq!(steps(Again { times: Some(2), ..shortly }, error), 3);
            assert_eq!(steps(Again { times: Some(0), ..shortly }, error), 1);
        }
        let nonsense = || Error::NoImage { name: "x".into() };
        assert_eq!(steps(Again { times: Some(5), ..shortly }, nonsense), 1);
        let said = Again { times: Some(1), delay: None }.or(Again { times: Some(7), delay: shortly.delay });
        assert_eq!(said, Again { times: Some(1), delay: shortly.delay });
    }
}
