//! One run of the machine: booted, given tasks, and gone.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::image::Image;
use super::protocol::{Event, Outcome, PORT, Task, tasks_line};
use crate::run;

/// How long a boot may take, and everything between two signs of life besides the task itself.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a task may find the machine booted.
const BOOTS: u32 = 6;

/// Everything that QEMU can emulate but for AVX, with which programs of newer Debians crash now and then under QEMU 7.2, and
/// CMPXCHG16B, after which QEMU 7.2 has an operand of the last addition in the flags. Linux 6.12 allocates memory with it, and if
/// an interrupt comes just then, the flags that it saves end in a double fault.
const CPU: &str = "max,avx=off,avx2=off,f16c=off,fma=off,vaes=off,vpclmulqdq=off,cx16=off";

/// How systemd arranges control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// One v2 hierarchy with every controller.
    V2,
    /// v1 hierarchies with the controllers, and a v2 one for systemd.
    Hybrid,
    /// v1 hierarchies only.
    V1,
}

impl Groups {
    /// The name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
            Self::V1 => "v1",
        }
    }

    /// By that name.
    pub fn parse(name: &str) -> anyhow::Result<Self> {
        let all = [Self::V2, Self::Hybrid, Self::V1];
        all.into_iter()
            .find(|g| g.name() == name)
            .with_context(|| format!("{name:?} is none of v2, hybrid, v1"))
    }

    /// What tests run with unless told otherwise: v1 where Debian still supports it.
    pub fn of_suite(suite: &str) -> &'static [Self] {
        match suite {
            "bookworm" => &[Self::V2, Self::V1],
            _ => &[Self::V2],
        }
    }

    /// Words of the kernel's command line, which systemd reads.
    fn kernel_words(self) -> &'static str {
        match self {
            Self::V2 => "systemd.unified_cgroup_hierarchy=1",
            Self::Hybrid => {
                "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0 \
                 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
            }
            Self::V1 => {
                "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1 \
                 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
            }
        }
    }
}

/// Which of the security modules that label everything is in force. The kernel has one of them at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Debian's own choice.
    AppArmor,
    /// Without a policy, until a test loads one.
    Selinux,
}

impl Security {
    /// Both.
    pub const ALL: [Self; 2] = [Self::AppArmor, Self::Selinux];

    /// Words of the kernel's command line.
    fn kernel_words(self) -> &'static str {
        match self {
            Self::AppArmor => "security=apparmor",
            Self::Selinux => "security=selinux",
        }
    }
}

/// What a boot decides for all that runs in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// How control groups are arranged.
    pub groups: Groups,
    /// What confines programs.
    pub security: Security,
}

/// A file without a name with these files and trees, and our own program. They will be at the same places in the guest.
pub fn share(paths: &[PathBuf]) -> anyhow::Result<File> {
    let file = tempfile::tempfile().context("make a file for what is shared")?;
    // Our own program by what the kernel holds: its path may be another build's by now.
    let mut tar = Command::new("tar");
    tar.args(["--create", "--absolute-names", "--sparse", "--dereference", "--transform=s|^exe$|xtask|"]);
    tar.arg("--directory").arg(format!("/proc/{}", std::process::id())).arg("exe").args(paths);
    tar.stdin(Stdio::null());
    run::succeed(tar.stdout(file.try_clone().context("share the file")?))?;
    Ok(file)
}

/// The running machine. Dropping it ends it.
struct Machine {
    qemu: Child,
    lines: mpsc::Receiver<String>,
    console: File,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // One that has ended already is what was wanted.
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}

/// Boots, runs the tasks in turn, hands each outcome over as it comes, and waits for the end of the machine.
pub fn run(
    image: &Image,
    setting: Setting,
    share: &File,
    tasks: &[Task],
    mut each: impl FnMut(Outcome),
) -> anyhow::Result<()> {
    let start = Instant::now();
    let reboots = tasks.iter().any(|task| task.reboots);
    let mut machine = Machine::start(image, setting, share, reboots)?;
    let Event::Up(what) = machine.event(PATIENCE)? else { bail!("the guest begins with something else") };
    println!("vm: up after {:.1} s: {what}", start.elapsed().as_secs_f64());
    let mut stdin = machine.qemu.stdin.take().context("a pipe was asked for")?;
    writeln!(stdin, "{}", tasks_line(tasks)).context("send the tasks")?;
    for (number, task) in tasks.iter().enumerate() {
        let limit = PATIENCE + Duration::from_secs(task.seconds);
        let mut boots = 1;
        loop {
            match machine.event(limit).with_context(|| format!("run {}", task.name))? {
                Event::Ended(outcome) if outcome.name == task.name => break each(outcome),
                // It has rebooted the machine, is run again, and knows how far it was.
                Event::Up(_) if task.reboots && boots < BOOTS => {
                    boots += 1;
                    writeln!(stdin, "{}", tasks_line(&tasks[number..])).context("send the tasks")?;
                }
                other => bail!("the guest should say how {} ended, and says {other:?}", task.name),
            }
        }
    }
    if machine.event(PATIENCE)? != Event::Done {
        bail!("the guest goes on after the last task");
    }
    machine.end()?;
    println!("vm: off after {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

impl Machine {
    fn start(image: &Image, setting: Setting, share: &File, reboots: bool) -> anyhow::Result<Self> {
        let console = tempfile::tempfile().context("make a file for the console")?;
        // With us, QEMU dies; a file without a name, it finds among our descriptors.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]).args(arguments(image, setting));
        // A kernel that panics reboots, too.
        qemu.args((!reboots).then_some("-no-reboot"));
        let disk = descriptor(share);
        qemu.arg("-drive").arg(format!("file={disk},format=raw,if=virtio,readonly=on"));
        qemu.arg("-chardev").arg(format!("file,id=console,path={}", descriptor(&console)));
        qemu.args(["-serial", "chardev:console"]);
        let mut qemu = qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start QEMU")?;
        let stdout = qemu.stdout.take().context("a pipe was asked for")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // It ends with QEMU, or when nobody listens any more.
            let lines = BufReader::new(stdout).lines();
            lines.map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Ok(Self { qemu, lines, console })
    }

    /// What the guest says next.
    fn event(&mut self, patience: Duration) -> anyhow::Result<Event> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Event::parse(&line),
            Err(RecvTimeoutError::Timeout) => {
                bail!("nothing from the guest for {patience:?}; its console:\n{}", self.last_words())
            }
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the guest ended by itself; its console:\n{}", self.last_words())
            }
        }
    }

    /// Waits until the guest has powered off.
    fn end(mut self) -> anyhow::Result<()> {
        match self.lines.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Disconnected) => {}
            other => bail!("the guest does not power off: {other:?}; its console:\n{}", self.last_words()),
        }
        let status = self.qemu.wait().context("wait for QEMU")?;
        if !status.success() {
            bail!("QEMU failed: {status}");
        }
        Ok(())
    }

    fn last_words(&mut self) -> String {
        let mut bytes = Vec::new();
        // A console that cannot be read is no reason to hide what went wrong.
        drop(self.console.seek(SeekFrom::Start(0)));
        drop(self.console.read_to_end(&mut bytes));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// Where another process of ours finds a file that has no name.
fn descriptor(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_fd().as_raw_fd())
}

/// QEMU doubles commas in values.
fn value(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// How processors are emulated: each in a thread of its own where that is safe. A processor that runs code while another changes
/// it is one of the things that QEMU 7.2 does not get right: Linux 6.12 dies of an `int3` that had been overwritten.
fn accelerator(suite: &str) -> &'static str {
    if suite == "bookworm" { "tcg,thread=multi" } else { "tcg,thread=single" }
}

/// The kernel's command line.
fn kernel_words(Setting { groups, security }: Setting) -> String {
    format!("console=ttyS0 quiet panic=-1 {} {}", groups.kernel_words(), security.kernel_words())
}

/// Without hardware help, because a guest hangs where the help is itself emulated. What is written to the disk goes to a
/// file without a name (`snapshot=on`).
fn arguments(image: &Image, setting: Setting) -> Vec<String> {
    let disk = format!("file={},format=raw,if=virtio,snapshot=on,cache=unsafe", value(&image.disk()));
    let kernel = kernel_words(setting);
    let port = format!("virtserialport,chardev=tasks,name={PORT}");
    let accelerator = accelerator(image.suite());
    let (image, initrd) = (image.kernel().display().to_string(), image.initrd().display().to_string());
    [
        ["-accel", accelerator],
        ["-machine", "q35"],
        ["-cpu", CPU],
        ["-smp", "2"],
        ["-m", "2048"],
        ["-display", "none"],
        ["-kernel", &image],
        ["-initrd", &initrd],
        ["-append", &kernel],
        ["-drive", &disk],
        ["-device", "virtio-rng-pci"],
        ["-device", "virtio-serial-pci"],
        ["-chardev", "stdio,id=tasks,signal=off"],
        ["-device", &port],
    ]
    .concat()
    .into_iter()
    .chain(["-nodefaults", "-no-user-config"])
    .map(str::to_owned)
    .collect()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn every_arrangement_of_groups_has_a_name() {
        for groups in [Groups::V2, Groups::Hybrid, Groups::V1] {
            assert_eq!(Groups::parse(groups.name()).unwrap(), groups);
        }
        assert!(Groups::parse("v3").is_err());
    }

    #[test]
    fn a_kernel_is_told_one_security_module() {
        for (security, word) in
            [(Security::AppArmor, "security=apparmor"), (Security::Selinux, "security=selinux")]
        {
            let words = kernel_words(Setting { groups: Groups::V2, security });
            let told: Vec<&str> = words.split(' ').filter(|w| w.starts_with("security=")).collect();
            assert_eq!(told, [word]);
        }
    }

    #[test]
    fn commas_in_paths_reach_qemu() {
        assert_eq!(value(Path::new("/a,b")), "/a,,b");
    }
}
