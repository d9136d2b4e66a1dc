//! Descriptors that a program gets from whoever runs this one.

use std::os::fd::OwnedFd;

use super::values::list;
use crate::error::Error;

/// More are nobody's intention; each is copied several times on its way.
const MOST: i32 = 1024;

/// Takes them: `count` from 3 on, or those of `--preserve-fd`. To be called before anything is opened.
pub(super) fn descriptors(count: u32, chosen: &[String]) -> Result<Vec<(i32, OwnedFd)>, Error> {
    let invalid = |text: &str| {
        Error::Invalid(format!("invalid value {text:?} for --preserve-fd: use numbers from 3 to {MOST}"))
    };
    let number = |text: &String| {
        text.parse().ok().filter(|number| (3..=MOST).contains(number)).ok_or_else(|| invalid(text))
    };
    let mut numbers: Vec<i32> = list(chosen).iter().map(number).collect::<Result<_, _>>()?;
    if count > MOST as u32 - 2 {
        return Err(Error::Invalid(format!(
            "invalid value {count} for --preserve-fds: use at most {}",
            MOST - 2
        )));
    }
    numbers.extend(3..3 + count as i32);
    numbers.sort_unstable();
    numbers.dedup();
    let take = |number| match loment_sys::fd::take_inherited(number) {
        Ok(fd) => Ok((number, fd)),
        Err(_) => Err(Error::Invalid(format!(
            "file descriptor {number} is not available - the preserve-fds option requires that file descriptors must be passed"
        ))),
    };
    numbers.into_iter().map(take).collect()
}
