//! What all commands' flags have in common.

use std::ffi::OsString;

use clap::{ArgAction, CommandFactory, Parser};

use super::*;

/// What is wrong with these arguments, if it is a conflict.
fn conflict<P: Parser>(arguments: &[String]) -> Option<String> {
    let words: Vec<OsString> = ["x".into()].into_iter().chain(arguments.iter().map(OsString::from)).collect();
    let parsed: Parsed<P> = crate::arguments::parse(|| P::command().args_override_self(true), &words);
    match parsed {
        Parsed::Conflict(text) => Some(text),
        Parsed::Mistake(text) if text.contains("cannot be used with") => Some(text),
        _ => None,
    }
}

/// Each switch with each argument that it conflicts with; how many pairs there are.
fn pairs<P: Parser>() -> usize {
    let mut command = P::command();
    command.build();
    let mut count = 0;
    for one in command.get_arguments() {
        for other in command.get_arg_conflicts_with(one) {
            let is_bool =
                |arg: &clap::Arg| arg.get_value_names().is_some_and(|names| names[0].as_str() == "BOOL");
            // What any of them takes; a word is the one of its number.
            let typed = |arg: &clap::Arg, on: bool| match (arg.get_long(), arg.get_action()) {
                (Some(long), ArgAction::SetTrue) => vec![format!("--{long}={on}")],
                (Some(long), _) if is_bool(arg) => vec![format!("--{long}=true")],
                (Some(long), _) => vec![format!("--{long}=gzip")],
                (None, _) => vec!["gzip".to_owned(); arg.get_index().unwrap_or(1)],
            };
            if ![one, other].iter().any(|arg| matches!(arg.get_action(), ArgAction::SetTrue)) {
                continue;
            }
            let said = |on| [typed(one, on), typed(other, on)].concat();
            assert!(conflict::<P>(&said(true)).is_some(), "{:?}", said(true));
            assert_eq!(conflict::<P>(&said(false)), None, "{:?}", said(false));
            count += 1;
        }
    }
    count
}

macro_rules! all_pairs {
    ($($flags:path),+ $(,)?) => { [$((stringify!($flags), pairs::<$flags>())),+] };
}

#[test]
fn a_switch_that_is_off_conflicts_with_nothing() {
    let pairs = all_pairs![
        cleanup::Flags,
        copy::Flags,
        create::Flags,
        df::Flags,
        diff::Flags,
        exec::Flags,
        exists::Flags,
        history::Flags,
        image_mount::Flags,
        image_mount::UnmountFlags,
        images::Flags,
        import::Flags,
        info::Flags,
        inspect::Flags,
        inspect::ContainerFlags,
        inspect::ImageFlags,
        kill::Flags,
        load::Flags,
        login::Flags,
        login::LogoutFlags,
        logs::Flags,
        manifest::Create,
        manifest::Add,
        manifest::Annotate,
        manifest::Inspect,
        manifest::Push,
        manifest::Remove,
        manifest::Rm,
        manifest::Exists,
        prune::ImageFlags,
        prune::SystemFlags,
        ps::Flags,
        pull::Flags,
        push::Flags,
        remote::ListTags,
        remote::Delete,
        remote::ManifestDigest,
        rm::Flags,
        rmi::Flags,
        run::Flags,
        save::Flags,
        search::Flags,
        start::Flags,
        stop::Flags,
        sync::Flags,
        system_check::Flags,
        tag::Flags,
        tag::UntagFlags,
        tree::Flags,
        version::Flags,
        wait::Flags,
    ];
    // Some have what is tested here.
    for name in ["df::Flags", "copy::Flags", "image_mount::Flags", "manifest::Annotate", "remote::Delete"] {
        let count = pairs.iter().find(|(known, _)| *known == name).map(|(_, count)| *count);
        assert!(count > Some(0), "{name}: {count:?}");
    }
}

#[test]
fn a_switch_that_is_off_does_not_stand_for_what_is_required() {
    let missing = |arguments: &[&str]| {
        let words: Vec<OsString> = ["x"].iter().chain(arguments).map(OsString::from).collect();
        let parsed: Parsed<image_mount::UnmountFlags> =
            crate::arguments::parse(image_mount::UnmountFlags::command, &words);
        match parsed {
            Parsed::Mistake(text) => text.contains("required"),
            _ => false,
        }
    };
    assert!(missing(&[]) && missing(&["--all=false"]) && missing(&["-a=0", "--force"]));
    assert!(!missing(&["--all"]) && !missing(&["--all=false", "image"]));
}
