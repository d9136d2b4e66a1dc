//! Filters of images: Podman's, which are Docker's and more.

use jiff::Timestamp;
use loment_image::{Reference, ShortNames};
use loment_store::ImageId;

use crate::error::invalid;
use crate::images::ImageSummary;
use crate::{Engine, Error};

const KNOWN: &str = "after, before, containers, dangling, digest, id, intermediate, label, manifest, readonly, \
                     reference, since or until";

/// Which images are meant. All filters must be true; of those for references, and those for ids, one.
#[derive(Debug, Default)]
pub struct ImageFilters {
    all: Vec<(Test, bool)>,
    any_reference: Vec<Test>,
    any_id: Vec<Test>,
}

#[derive(Debug)]
enum Test {
    After(Timestamp),
    Before(Timestamp),
    Containers(bool),
    Dangling(bool),
    Digest(String),
    Id(String),
    Intermediate(bool),
    Label(String, Option<String>),
    List(bool),
    /// There is nothing that cannot be changed.
    Never(bool),
    Reference(String, Option<ImageId>),
}

impl ImageFilters {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any_reference.is_empty() && self.any_id.is_empty()
    }

    /// Whether an image is meant.
    ///
    /// # Errors
    /// [`Error::Store`] when its labels are wanted and cannot be read.
    pub fn keeps(&self, engine: &Engine, image: &ImageSummary) -> Result<bool, Error> {
        for (test, wanted) in &self.all {
            if test.holds(engine, image)? != *wanted {
                return Ok(false);
            }
        }
        for any in [&self.any_reference, &self.any_id] {
            let mut holds = any.is_empty();
            for test in any {
                holds = holds || test.holds(engine, image)?;
            }
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Engine {
    /// Reads filters, each `NAME=VALUE` or `NAME!=VALUE`.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::NoImage`] for `before=` and `since=` an image that is not there.
    pub fn image_filters(&self, texts: &[String], short_names: &ShortNames) -> Result<ImageFilters, Error> {
        let mut filters = ImageFilters::default();
        for text in texts {
            let (name, value, wanted) = split(text)?;
            let test = self.image_test(name, value, text, short_names)?;
            match test {
                Test::Reference(..) if wanted => filters.any_reference.push(test),
                Test::Id(_) if wanted => filters.any_id.push(test),
                test => filters.all.push((test, wanted)),
            }
        }
        Ok(filters)
    }

    fn image_test(
        &self,
        name: &str,
        value: &str,
        text: &str,
        short_names: &ShortNames,
    ) -> Result<Test, Error> {
        let boolean = || {
            boolean(value).ok_or_else(|| invalid("filter", text, format!("use {name}=true or {name}=false")))
        };
        let created = || -> Result<Timestamp, Error> {
            let (id, _) = self.find_image(value, short_names)?;
            let gone = || Error::NoImage { name: value.to_owned() };
            Ok(moment_of(self.store().image(&id)?.ok_or_else(gone)?.created.as_deref()))
        };
        Ok(match name {
            "after" | "since" => Test::After(created()?),
            "before" => Test::Before(created()?),
            "until" => Test::Before(moment(value).ok_or_else(|| {
                invalid("filter", text, "use a time such as 2026-01-31T12:00:00Z, or an age such as 24h")
            })?),
            "containers" if value == "external" => Test::Never(true),
            "containers" => Test::Containers(boolean()?),
            "dangling" => Test::Dangling(boolean()?),
            "digest" if value.starts_with("sha256:") || value.starts_with("sha512:") => {
                Test::Digest(value.to_owned())
            }
            "digest" => return Err(invalid("filter", text, "begin the digest with sha256:")),
            "id" => Test::Id(value.trim_start_matches("sha256:").to_owned()),
            "intermediate" => Test::Intermediate(boolean()?),
            "label" => match value.split_once('=') {
                Some((key, value)) => Test::Label(key.to_owned(), Some(value.to_owned())),
                None => Test::Label(value.to_owned(), None),
            },
            "manifest" => Test::List(boolean()?),
            "readonly" => Test::Never(boolean()?),
            "reference" => {
                let found = self.find_image(value, short_names).ok().map(|(id, _)| id);
                Test::Reference(value.to_owned(), found)
            }
            _ => return Err(invalid("filter", text, format!("use {KNOWN}"))),
        })
    }
}

fn split(text: &str) -> Result<(&str, &str, bool), Error> {
    match text.split_once('=') {
        Some((name, value)) => match name.strip_suffix('!') {
            Some(name) => Ok((name, value, false)),
            None => Ok((name, value, true)),
        },
        None => Err(invalid("image filter", text, "must be in the format \"filter=value or filter!=value\"")),
    }
}

/// As Go reads one.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl Test {
    fn holds(&self, engine: &Engine, summary: &ImageSummary) -> Result<bool, Error> {
        let image = &summary.image.image;
        let created = || moment_of(image.created.as_deref());
        Ok(match self {
            Self::After(moment) => created() > *moment,
            Self::Before(moment) => created() < *moment,
            Self::Containers(wanted) => (summary.containers > 0) == *wanted,
            Self::Dangling(wanted) => summary.dangling == *wanted,
            Self::Digest(prefix) => {
                let own = image.manifests.iter();
                let named = summary.image.names.iter().filter_map(|name| name.manifest.as_ref());
                own.chain(named).any(|digest| digest.as_ref().starts_with(prefix))
            }
            Self::Id(prefix) => image.id.hex().starts_with(prefix),
            Self::Intermediate(wanted) => summary.intermediate == *wanted,
            Self::Label(..) if summary.list => false,
            Self::Label(key, value) => {
                let labels = engine.image_document(&image.id)?.container.labels;
                let fits = |found: &String| value.as_ref().is_none_or(|value| value == found);
                match key.strip_suffix('*') {
                    Some(start) => labels.iter().any(|(key, found)| key.starts_with(start) && fits(found)),
                    None => labels.get(key).is_some_and(fits),
                }
            }
            Self::List(wanted) => summary.list == *wanted,
            Self::Never(wanted) => !*wanted,
            Self::Reference(_, Some(found)) if *found == image.id => true,
            Self::Reference(pattern, _) => {
                summary.image.names.iter().any(|name| reference_fits(pattern, &name.name))
            }
        })
    }
}

/// Whether a pattern is for a name: with or without its registry, its path, its tag.
fn reference_fits(pattern: &str, name: &str) -> bool {
    let Ok(reference) = name.parse::<Reference>() else { return crate::glob::matches(pattern, name) };
    let (full, path) = (reference.name(), reference.path());
    let last = path.rsplit('/').next().unwrap_or(path);
    let behind = &name[full.len().min(name.len())..];
    let familiar = reference.familiar();
    [&full, path, last, familiar.split([':', '@']).next().unwrap_or_default()].iter().any(|start| {
        crate::glob::matches(pattern, start) || crate::glob::matches(pattern, &format!("{start}{behind}"))
    })
}

/// When an image was built, by what its configuration says; one that says nothing is older than all.
pub(crate) fn moment_of(created: Option<&str>) -> Timestamp {
    created.and_then(|text| text.parse().ok()).unwrap_or(Timestamp::MIN)
}

/// A moment: RFC 3339, a day or time of day here, seconds since 1970, or an age such as `1h30m`.
pub fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if let Some(nanoseconds) = decimal_seconds(text) {
        return Timestamp::from_nanosecond(nanoseconds).ok();
    }
    if let Ok(time) = text.parse::<jiff::civil::DateTime>() {
        return time.to_zoned(jiff::tz::TimeZone::system()).ok().map(|zoned| zoned.timestamp());
    }
    let age: jiff::SignedDuration = text.parse().ok()?;
    Timestamp::now().saturating_sub(age).ok()
}

/// Seconds with a fraction, in nanoseconds: exactly, which a floating-point number of today's seconds is not.
fn decimal_seconds(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 18 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let nanoseconds: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some(sign * (whole.parse::<i128>().ok()? * 1_000_000_000 + nanoseconds.parse::<i128>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_to_the_nanosecond() {
        assert_eq!(decimal_seconds("1795312534.575618608"), Some(1_795_312_534_575_618_608));
        assert_eq!(decimal_seconds("-1.5"), Some(-1_500_000_000));
        assert_eq!(decimal_seconds("7"), Some(7_000_000_000));
        for other in ["", ".5", "1h", "1e3", "2026-11-22", "1.5s", "9999999999999999999"] {
            assert_eq!(decimal_seconds(other), None, "{other}");
        }
    }

    #[test]
    fn references_fit_in_parts() {
        let name = "docker.io/library/busybox:latest";
        for pattern in [
            name,
            "docker.io/library/busybox",
            "library/busybox:latest",
            "library/*",
            "busybox",
            "busybox:latest",
            "busy*",
            "*:latest",
            "docker.io/*/*",
        ] {
            assert!(reference_fits(pattern, name), "{pattern}");
        }
        for pattern in ["busy", "box", "docker.io", "library", "busybox:1", "*/x"] {
            assert!(!reference_fits(pattern, name), "{pattern}");
        }
        assert!(reference_fits("localhost:5000/x", "localhost:5000/x:1"));
    }

    #[test]
    fn moments_are_read() {
        for text in
            ["2026-01-31T12:00:00Z", "2026-01-31", "2026-01-31T12:00:00", "1700000000", "24h", "1h30m", "90s"]
        {
            assert!(moment(text).is_some(), "{text}");
        }
        assert_eq!(moment("1700000000").map(Timestamp::as_second), Some(1_700_000_000));
        assert_eq!(moment("soon"), None);
    }
}
