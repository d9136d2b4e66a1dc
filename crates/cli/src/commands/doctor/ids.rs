//! Which users and groups an ordinary user's containers may have. Root has all.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, getxattr, statvfs};

use super::{Finding, Findings};
use crate::{programs, rootless};

/// Images have users up to `nobody`, 65534.
const USUAL: u32 = 65_536;

pub(super) fn find() -> Vec<Finding> {
    let mut found = Findings::about("users");
    if !rootless::is_rootless() {
        found.fine("run by root, whose containers may have all users and groups");
        return found.all;
    }
    let user = rootless::user();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = rootless::name_of(&accounts, user);
    let shown = name.map_or_else(|| user.to_string(), str::to_owned);
    for (file, program, flag) in
        [("/etc/subuid", "newuidmap", "--add-subuids"), ("/etc/subgid", "newgidmap", "--add-subgids")]
    {
        ranges(&mut found, file, flag, (user, name, &shown));
        helper(&mut found, program);
    }
    if rustix::thread::no_new_privs().unwrap_or(false) {
        found.problem(
            "no_new_privs is set: newuidmap and newgidmap get no rights",
            "start loment where it is not set: not below a service with NoNewPrivileges=yes, nor in a container with no-new-privileges",
        );
    }
    match rootless::try_ids() {
        Ok(None) => found.fine("newuidmap and newgidmap give a user namespace all of these"),
        Ok(Some(why)) => found.problem(
            format_args!("containers have one user and one group only: {why}"),
            "see what is said of the files and programs for it; most images need more users than one",
        ),
        Err(error) => found.problem(
            format_args!("no user namespace can be made: {}", crate::error::one_line(&error)),
            "see what is said of the kernel",
        ),
    }
    found.all
}

/// What a file gives the user.
fn ranges(found: &mut Findings, file: &str, flag: &str, (user, name, shown): (u32, Option<&str>, &str)) {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            let error = crate::error::without_numbers(&error.to_string());
            return found
                .problem(format_args!("{file} cannot be read: {error}"), format_args!("chmod 644 {file}"));
        }
    };
    let number = user.to_string();
    let own = |line: &&str| {
        let owner = line.split(':').next().unwrap_or_default();
        !owner.is_empty() && (Some(owner) == name || owner == number)
    };
    let add = format!("as root: usermod {flag} 100000-165535 {shown} (or another range that is nobody's)");
    let lines: Vec<&str> = text.lines().filter(own).collect();
    let read = |line: &str| rootless::ranges(line, line.split(':').next().unwrap_or_default()).next();
    for line in lines.iter().filter(|line| read(line).is_none()) {
        found.problem(
            format_args!("{file} has a line {line:?}, which is no range"),
            "write it as NAME:FIRST:NUMBER, where NUMBER is more than 0",
        );
    }
    let all: Vec<(u32, u32)> = lines.iter().filter_map(|line| read(line)).collect();
    if all.is_empty() {
        return found.problem(format_args!("{file} gives {shown} nothing"), add);
    }
    let others = text.lines().filter(|line| !own(line)).filter_map(|line| Some((line, read(line)?)));
    let overlaps = |a: (u32, u32), b: (u32, u32)| a.0 < b.0 + b.1 && b.0 < a.0 + a.1;
    for (line, other) in others {
        if all.iter().any(|range| overlaps(*range, other)) {
            found.problem(
                format_args!("{file} gives {shown} what the line {line:?} gives somebody else, too"),
                "files of one's containers are the other's: give each a range of their own, and make the containers anew",
            );
        }
    }
    if all.iter().any(|range| overlaps(*range, (0, 1000))) {
        found.problem(
            format_args!("{file} gives {shown} users or groups below 1000, which are the machine's own"),
            "a container could be these: give the user a range from 100000 on",
        );
    }
    let count: u64 = all.iter().map(|(_, size)| u64::from(*size)).sum();
    match count < u64::from(USUAL) {
        true => found.note(
            format_args!(
                "{file} gives {shown} {count} further ids: images with others in them cannot be unpacked"
            ),
            add,
        ),
        false => found.fine(format_args!("{file} gives {shown} {count} further ids")),
    }
}

/// Whether a program may do what it is for.
fn helper(found: &mut Findings, program: &str) {
    let Some(path) = programs::find(program) else {
        return found.problem(
            format_args!("{program} is not in PATH"),
            "install the package uidmap (on some systems, shadow-utils)",
        );
    };
    let shown = path.display();
    let Ok(meta) = path.metadata() else {
        return found.note(format_args!("{shown} cannot be looked at"), "");
    };
    let is_setuid = meta.permissions().mode() & 0o4000 != 0 && meta.uid() == 0;
    let capability = if program == "newuidmap" { "cap_setuid" } else { "cap_setgid" };
    let has_capabilities = getxattr(&path, "security.capability", &mut [0_u8; 64][..]).is_ok();
    let is_nosuid = |path: &Path| statvfs(path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOSUID));
    if !is_setuid && !has_capabilities {
        return found.problem(
            format_args!("{shown} is neither setuid root nor has it capabilities"),
            format_args!("as root: chmod u+s {shown}, or setcap {capability}=ep {shown}"),
        );
    }
    match is_nosuid(&path) {
        true => found.problem(
            format_args!("{shown} is on a file system mounted nosuid, where it gets no rights"),
            "mount it without nosuid, or install the program elsewhere",
        ),
        false => found
            .fine(format_args!("{shown} {}", if is_setuid { "is setuid root" } else { "has capabilities" })),
    }
}
