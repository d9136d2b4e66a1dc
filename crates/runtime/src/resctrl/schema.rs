//! Lines of `schemata`: `RESOURCE:ID=VALUE;ID=VALUE`, with blanks that align them when the kernel writes them.

/// A line's resource, and what each of its parts has.
fn parse(line: &str) -> Option<(&str, Vec<(u32, u64)>)> {
    let (resource, parts) = line.split_once(':')?;
    let resource = resource.trim();
    let radix = if resource.starts_with("MB") { 10 } else { 16 };
    let part = |text: &str| {
        let (id, value) = text.split_once('=')?;
        let value = value.trim();
        let value = if radix == 16 { value.trim_start_matches("0x") } else { value };
        Some((id.trim().parse().ok()?, u64::from_str_radix(value, radix).ok()?))
    };
    let parts = parts.split(';').filter(|text| !text.trim().is_empty()).map(part);
    Some((resource, parts.collect::<Option<Vec<_>>>()?)).filter(|(_, parts)| !parts.is_empty())
}

/// The line about the same resource.
pub(super) fn line_like(schemata: &str, line: &str) -> Option<String> {
    let resource = line.split(':').next()?.trim();
    let found = schemata.lines().find(|l| l.split(':').next().is_some_and(|r| r.trim() == resource))?;
    Some(found.trim().to_owned())
}

/// Whether the parts that a line names have what it gives them. A line that cannot be understood agrees with nothing.
pub(super) fn agrees(schemata: &str, line: &str) -> bool {
    let Some((resource, given)) = parse(line) else { return false };
    let has = schemata.lines().filter_map(parse).find(|(r, _)| *r == resource);
    has.is_some_and(|(_, has)| given.iter().all(|part| has.contains(part)))
}

/// What the kernel showed, as lines that it takes.
pub(super) fn as_written(schemata: &str) -> Vec<String> {
    let lines = schemata.lines().map(|l| l.replace([' ', '\t'], ""));
    lines.filter(|l| !l.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "    MB:0= 20;1= 70\n    L3:0=007f0;1=0001f\nL2:0=ff;1=ff\n";

    #[test]
    fn zeroes_blanks_and_order_make_no_difference() {
        for line in ["L3:0=7f0;1=1f", "L3:1=1f;0=7F0", " L3 : 0 = 0x7f0 ", "MB:0=20;1=70", "L2:1=ff;"] {
            assert!(agrees(SHOWN, line), "{line}");
        }
    }

    #[test]
    fn other_values_parts_and_resources_do() {
        for line in [
            "L3:0=7f1;1=1f",
            "L3:2=7f0",
            "MB:0=32",
            "L3CODE:0=7f0",
            "",
            "L3",
            "L3:",
            "L3:;",
            "L3:0",
            "L3:0=x",
            ":0=7f0",
        ] {
            assert!(!agrees(SHOWN, line), "{line}");
        }
    }

    #[test]
    fn what_is_shown_can_be_written() {
        assert_eq!(as_written(SHOWN), ["MB:0=20;1=70", "L3:0=007f0;1=0001f", "L2:0=ff;1=ff"]);
        assert_eq!(line_like(SHOWN, "L3:0=1").as_deref(), Some("L3:0=007f0;1=0001f"));
    }
}
