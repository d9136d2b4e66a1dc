//! The profile file (`seccomp.json` of containers-common and Docker; `linux.seccomp` of the OCI runtime
//! specification). Structures here mirror the file and are turned into [`Profile`] at once.

use std::borrow::Cow;
use std::path::PathBuf;
use std::str::FromStr;

use oci_spec::runtime::{Arch as OciArch, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator};
use serde::Deserialize;

use super::{ArchSet, Architectures, Calls, Gate, Group, KernelVersion, Profile};
use crate::arch::Arch;
use crate::caps::Caps;
use crate::rule::{Action, BadErrno, Cond};

/// What is wrong with a profile file. Fields are named as a path: `syscalls[3].args[0].op`.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not JSON, or a value of the wrong type; the source says where.
    #[error("seccomp profile: {0}")]
    Json(#[from] serde_json::Error),
    /// A required field is absent.
    #[error("seccomp profile: {field} is missing")]
    Missing {
        /// Its path.
        field: String,
    },
    /// A value that the field cannot have.
    #[error("seccomp profile: {field}{names}: {value:?} is not {expected}")]
    Value {
        /// Its path.
        field: String,
        /// The calls of the rule, in parentheses, or nothing.
        names: String,
        /// The value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Two fields that say the same thing.
    #[error("seccomp profile: '{one}' and '{other}' were specified, use either '{one}' or '{other}'")]
    Both {
        /// Path of the first.
        one: String,
        /// Path of the second.
        other: String,
    },
    /// An error number that the action cannot carry.
    #[error("seccomp profile: {field}{names}: {action} cannot carry errno {errno}")]
    Errno {
        /// Its path.
        field: String,
        /// The calls of the rule, in parentheses, or nothing.
        names: String,
        /// The action.
        action: LinuxSeccompAction,
        /// The number.
        errno: u32,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    default_action: Option<String>,
    default_errno_ret: Option<u32>,
    default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMap>>,
    flags: Option<Vec<String>>,
    listener_path: Option<PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: Option<String>,
    args: Option<Vec<Arg>>,
    errno_ret: Option<u32>,
    errno: Option<String>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: usize,
    #[serde(default)]
    value: u64,
    value_two: Option<u64>,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// Where in the file a value is.
struct Place<'a> {
    /// `syscalls[3].`, or nothing at the top.
    prefix: String,
    names: &'a [String],
}

impl Place<'_> {
    fn field(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The first calls of the rule: hundreds would hide the message.
    fn names(&self) -> String {
        match self.names {
            [] => String::new(),
            few if few.len() <= 3 => format!(" ({})", few.join(", ")),
            [first, ..] => format!(" ({first} and {} more)", self.names.len() - 1),
        }
    }

    fn value(&self, field: &str, value: &str, expected: &'static str) -> ProfileError {
        let (field, names) = (self.field(field), self.names());
        ProfileError::Value { field, names, value: value.to_owned(), expected }
    }

    fn both(&self, one: &str, other: &str) -> ProfileError {
        ProfileError::Both { one: self.field(one), other: self.field(other) }
    }

    fn missing(&self, field: &str) -> ProfileError {
        ProfileError::Missing { field: self.field(field) }
    }

    fn one_of<T: FromStr>(
        &self,
        field: &str,
        value: &str,
        expected: &'static str,
    ) -> Result<T, ProfileError> {
        value.parse().map_err(|_| self.value(field, value, expected))
    }

    fn action(&self, field: &str, value: Option<&str>) -> Result<LinuxSeccompAction, ProfileError> {
        let value = value.ok_or_else(|| self.missing(field))?;
        self.one_of(field, value, "an action such as SCMP_ACT_ALLOW")
    }

    /// The number of an error given as a number, as a name, or as both, of which the name counts.
    fn errno(
        &self,
        action: LinuxSeccompAction,
        (name_field, name): (&str, Option<&str>),
        (number_field, number): (&str, Option<u32>),
    ) -> Result<Option<u32>, ProfileError> {
        let (field, errno) = match name.filter(|name| !name.is_empty()) {
            Some(name) => {
                let known = errno_number(name).or_else(|| name.parse().ok());
                let expected = "the name of an error such as EPERM";
                (name_field, Some(known.ok_or_else(|| self.value(name_field, name, expected))?))
            }
            None => (number_field, number),
        };
        match Action::from_oci(action, errno) {
            Ok(_) => Ok(errno),
            Err(BadErrno::NoPlace | BadErrno::TooLarge(_)) => Err(ProfileError::Errno {
                field: self.field(field),
                names: self.names(),
                action,
                errno: errno.unwrap_or_default(),
            }),
        }
    }

    fn architecture(&self, field: &str, value: &str) -> Result<OciArch, ProfileError> {
        self.one_of(field, value, "an architecture such as SCMP_ARCH_X86_64")
    }

    fn caps(&self, field: &str, names: Option<&[String]>) -> Result<Caps, ProfileError> {
        let names = names.unwrap_or_default().iter().map(String::as_str);
        Caps::from_names(names).map_err(|unknown| self.value(field, &unknown.0, "a capability"))
    }

    fn arches(&self, field: &str, names: &[String]) -> Result<ArchSet, ProfileError> {
        let mut known = Vec::new();
        for name in names {
            match Arch::ALL.iter().find(|arch| arch.profile_name() == name) {
                Some(arch) => known.push(*arch),
                None if OTHER_ARCHES.contains(&name.as_str()) => {}
                None => return Err(self.value(field, name, "an architecture such as amd64")),
            }
        }
        Ok(ArchSet::of(&known))
    }
}

/// Names for `arches` that are no host of ours.
const OTHER_ARCHES: [&str; 21] = [
    "386",
    "loong64",
    "loongarch64",
    "m68k",
    "mips",
    "mips64",
    "mips64n32",
    "mipsel",
    "mipsel64",
    "mipsel64n32",
    "parisc",
    "parisc64",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv64",
    "s390",
    "s390x",
    "sh",
    "sheb",
    "all",
];

pub(super) fn parse(text: &[u8]) -> Result<Profile, ProfileError> {
    let file: File = serde_json::from_slice(text)?;
    let top = Place { prefix: String::new(), names: &[] };
    let default_action = top.action("defaultAction", file.default_action.as_deref())?;
    let default_errno = top.errno(
        default_action,
        ("defaultErrno", file.default_errno.as_deref()),
        ("defaultErrnoRet", file.default_errno_ret),
    )?;
    let flags = file.flags.map(|flags| {
        let parse = |flag: &String| -> Result<LinuxSeccompFilterFlag, ProfileError> {
            top.one_of("flags", flag, "a flag such as SECCOMP_FILTER_FLAG_LOG")
        };
        flags.iter().map(parse).collect::<Result<Vec<_>, _>>()
    });
    let groups = file.syscalls.unwrap_or_default();
    Ok(Profile {
        default_action,
        default_errno,
        architectures: architectures(&top, file.architectures, file.arch_map)?,
        flags: flags.transpose()?,
        listener_path: file.listener_path.filter(|path| !path.as_os_str().is_empty()),
        listener_metadata: file.listener_metadata.filter(|metadata| !metadata.is_empty()),
        groups: Cow::Owned(
            groups.into_iter().enumerate().map(|(at, rule)| group(at, rule)).collect::<Result<_, _>>()?,
        ),
    })
}

fn architectures(
    top: &Place<'_>,
    listed: Option<Vec<String>>,
    map: Option<Vec<ArchMap>>,
) -> Result<Architectures, ProfileError> {
    let (listed, map) = (listed.unwrap_or_default(), map.unwrap_or_default());
    if !listed.is_empty() && !map.is_empty() {
        return Err(top.both("architectures", "archMap"));
    }
    if map.is_empty() {
        let parse = |name: &String| top.architecture("architectures", name);
        return Ok(Architectures::Listed(listed.iter().map(parse).collect::<Result<_, _>>()?));
    }
    let mut parsed = Vec::with_capacity(map.len());
    for (at, entry) in map.iter().enumerate() {
        let place = Place { prefix: format!("archMap[{at}]."), names: &[] };
        let others = entry.sub_architectures.as_deref().unwrap_or_default().iter();
        let others =
            others.map(|name| place.architecture("subArchitectures", name)).collect::<Result<_, _>>()?;
        parsed.push((place.architecture("architecture", &entry.architecture)?, others));
    }
    Ok(Architectures::Mapped(parsed))
}

fn group(at: usize, rule: Rule) -> Result<Group, ProfileError> {
    let (names, both) = match (rule.names.unwrap_or_default(), rule.name.filter(|name| !name.is_empty())) {
        (names, None) => (names, false),
        (names, Some(name)) if names.is_empty() => (vec![name], false),
        (names, Some(_)) => (names, true),
    };
    let place = Place { prefix: format!("syscalls[{at}]."), names: &names };
    if both {
        return Err(place.both("name", "names"));
    }
    if names.is_empty() {
        return Err(place.missing("names"));
    }
    if names.iter().any(String::is_empty) {
        return Err(place.value("names", "", "the name of a system call"));
    }
    let action = place.action("action", rule.action.as_deref())?;
    let errno = place.errno(action, ("errno", rule.errno.as_deref()), ("errnoRet", rule.errno_ret))?;
    let args = rule.args.unwrap_or_default();
    let conds = args.iter().enumerate().map(|(at, arg)| cond(&place, at, arg));
    let conds = conds.collect::<Result<Vec<_>, _>>()?;
    let gate = gate(&place, rule.includes.unwrap_or_default(), rule.excludes.unwrap_or_default())?;
    Ok(Group { calls: Calls::Named(names), action, errno, conds: Cow::Owned(conds), gate })
}

fn cond(place: &Place<'_>, at: usize, arg: &Arg) -> Result<Cond, ProfileError> {
    let op: LinuxSeccompOperator =
        place.one_of(&format!("args[{at}].op"), &arg.op, "an operator such as SCMP_CMP_EQ")?;
    let index = || place.value(&format!("args[{at}].index"), &arg.index.to_string(), "an index from 0 to 5");
    Cond::from_parts(arg.index, op, arg.value, arg.value_two).ok_or_else(index)
}

fn gate(place: &Place<'_>, includes: Filter, excludes: Filter) -> Result<Gate, ProfileError> {
    let on = match includes.arches.as_deref().unwrap_or_default() {
        [] => None,
        names => Some(place.arches("includes.arches", names)?),
    };
    let kernel = |field: &str, text: Option<&str>| -> Result<Option<KernelVersion>, ProfileError> {
        let text = text.filter(|text| !text.is_empty());
        text.map(|text| place.one_of(field, text, "a kernel version such as 5.10")).transpose()
    };
    Ok(Gate {
        with: place.caps("includes.caps", includes.caps.as_deref())?,
        without: place.caps("excludes.caps", excludes.caps.as_deref())?,
        on,
        not_on: place.arches("excludes.arches", excludes.arches.as_deref().unwrap_or_default())?,
        since: kernel("includes.minKernel", includes.min_kernel.as_deref())?,
        before: kernel("excludes.minKernel", excludes.min_kernel.as_deref())?,
    })
}

/// Number of an error by name, as on every architecture with a table here.
fn errno_number(name: &str) -> Option<u32> {
    let alias = match name {
        "EWOULDBLOCK" => "EAGAIN",
        "EDEADLOCK" => "EDEADLK",
        "ENOTSUP" => "EOPNOTSUPP",
        name => name,
    };
    ERRNO_NAMES.split_ascii_whitespace().position(|known| known == alias).map(|at| at as u32 + 1)
}

/// Names from 1 on (`asm-generic/errno.h`); a dash where there is none.
const ERRNO_NAMES: &str = "\
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK \
    EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE \
    EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM \
    ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT \
    - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP \
    EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ \
    ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT \
    ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH \
    ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT \
    ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM \
    EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED \
    EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON";
