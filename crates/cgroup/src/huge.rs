//! Huge pages.

use oci_spec::runtime::LinuxHugepageLimit;

use crate::Error;
use crate::dir::Dir;

/// Limits what is used and, where the kernel counts it (Linux 5.7), what is reserved. `suffix` is the file's: v1 and v2 name
/// it differently.
pub(crate) fn apply(group: &Dir, limits: &[LinuxHugepageLimit], suffix: &str) -> Result<(), Error> {
    for limit in limits {
        let size = limit.page_size();
        let digits = size.trim_end_matches(|c: char| c.is_ascii_uppercase());
        let known = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !known || !["KB", "MB", "GB"].contains(&&size[digits.len()..]) {
            return Err(Error::Value { name: "huge page size (such as 2MB)", value: size.clone() });
        }
        let value = limit.limit().to_string();
        let reserved = format!("hugetlb.{size}.rsvd.{suffix}");
        if group.has(&reserved) {
            group.write(&reserved, &value)?;
        }
        group.write(&format!("hugetlb.{size}.{suffix}"), &value)?;
    }
    Ok(())
}
