// SPDX-License-Identifier: GPL-2.0

//! The lab's side in the guest: the same program, started as its first process.
//! It makes the usual mounts and the pmem devices, runs the job, carries the
//! job's output to the host through virtio ports, and reports how it ended.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use nix::mount::{mount, MsFlags};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Where the host's folder with the job is mounted.
const IN: &str = "/lab/in";
/// What the job's `$OUT` is.
pub const OUT: &str = "/lab/out";
/// The last line that the guest puts into its log.
pub const LAST_WORDS: &str = "lab: the job has ended";
/// Background processes that hold the job's output open get this long.
const GRACE: Duration = Duration::from_secs(5);
/// Bits of /proc/sys/kernel/tainted that are a bug: died, bad page, warned, soft
/// lockup.
const TAINTED: u64 = (1 << 7) | (1 << 5) | (1 << 9) | (1 << 14);

/// Names of the virtio ports.
pub const PORTS: [&str; 4] = ["lab.control", "lab.stdin", "lab.stdout", "lab.stderr"];

/// What to do, as the host wrote it into `job.json`.
#[derive(Serialize, Deserialize, Default)]
pub struct Job {
    /// The program, then its arguments.
    pub arguments: Vec<String>,
    /// More variables for it.
    pub environment: Vec<(String, String)>,
    /// How many pmem devices there are to be set up.
    pub pmem: u32,
    /// An interactive job: rows and columns of its terminal.
    pub terminal: Option<(u16, u16)>,
    /// The terminal's kind.
    pub term: String,
}

/// What the guest tells the host on the control port, one JSON line each.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The job runs now.
    Started,
    /// The job could not be run.
    Broken {
        /// Why.
        reason: String,
    },
    /// The job has ended.
    Ended {
        /// Its exit status; 128 + signal when it was killed.
        status: i32,
        /// Bytes sent on the two output ports.
        out: u64,
        /// As above, for standard error.
        err: u64,
        /// Taint bits that mean a bug.
        tainted: u64,
    },
}

/// The guest's first process.  Never returns while the guest lives.
pub fn main() -> Result<()> {
    let outcome = set_up().and_then(|mut control| {
        let event = match job(&mut control) {
            Ok(event) => event,
            Err(error) => Event::Broken {
                reason: format!("{error:#}"),
            },
        };
        let _ = fs::write("/dev/kmsg", format!("<5>{LAST_WORDS}\n"));
        tell(&mut control, &event)
    });
    if let Err(error) = outcome {
        let _ = fs::write("/dev/kmsg", format!("<2>lab: {error:#}\n"));
    }
    // The host ends the machine; an init that returns is a panic.
    loop {
        std::thread::park();
    }
}

fn tell(control: &mut File, event: &Event) -> Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    control.write_all(&line)?;
    Ok(())
}

/// A mount that some kernels cannot do is not there, which is no error.
fn try_mount(kind: &str, on: &str, options: &str) {
    let _ = fs::create_dir_all(on);
    let _ = mount(Some(kind), on, Some(kind), MsFlags::empty(), Some(options));
}

fn set_up() -> Result<File> {
    try_mount("proc", "/proc", "");
    try_mount("sysfs", "/sys", "");
    try_mount("devtmpfs", "/dev", "");
    try_mount("devpts", "/dev/pts", "mode=620,ptmxmode=666");
    try_mount("tmpfs", "/dev/shm", "mode=1777");
    try_mount("tmpfs", "/run", "mode=755");
    try_mount("tmpfs", "/tmp", "mode=1777");
    try_mount("cgroup2", "/sys/fs/cgroup", "");
    try_mount("debugfs", "/sys/kernel/debug", "");
    try_mount("tracefs", "/sys/kernel/tracing", "");
    try_mount("securityfs", "/sys/kernel/security", "");
    try_mount("configfs", "/sys/kernel/config", "");
    for controller in ["+memory", "+cpuset", "+pids", "+cpu", "+io"] {
        let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", controller);
    }
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        let _ = std::os::unix::fs::symlink(target, link);
    }
    let _ = nix::unistd::sethostname("lab");
    // An emulated machine on a busy host is slow without being stuck.
    let _ = fs::write("/proc/sys/kernel/hung_task_timeout_secs", "300");
    let options = "trans=virtio,version=9p2000.L,msize=262144,cache=none";
    fs::create_dir_all(OUT)?;
    mount(
        Some("lab_out"),
        OUT,
        Some("9p"),
        MsFlags::empty(),
        Some(options),
    )
    .context("cannot mount the folder for $OUT")?;
    port(PORTS[0])
}

/// Opens a virtio port by its name.
fn port(name: &str) -> Result<File> {
    let ports = Path::new("/sys/class/virtio-ports");
    for entry in fs::read_dir(ports).context("no virtio ports")? {
        let entry = entry?;
        let found = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if found.trim() == name {
            let device = Path::new("/dev").join(entry.file_name());
            return File::options()
                .read(true)
                .write(true)
                .open(&device)
                .with_context(|| format!("cannot open {}", device.display()));
        }
    }
    bail!("no virtio port {name}");
}

fn job(control: &mut File) -> Result<Event> {
    let job: Job = serde_json::from_slice(&fs::read(Path::new(IN).join("job.json"))?)?;
    for number in 0..job.pmem {
        make_pmem(number)?;
    }
    let (status, out, err) = match job.terminal {
        Some(size) => {
            tell(control, &Event::Started)?;
            on_terminal(&job, size)?
        }
        None => on_pipes(&job, control)?,
    };
    // What is written through a memory mapping has to reach the host too.
    if let Ok(out) = File::open(OUT) {
        // SAFETY: syncfs() takes a descriptor, which is open here.
        unsafe { nix::libc::syncfs(out.as_raw_fd()) };
    }
    let tainted: u64 = fs::read_to_string("/proc/sys/kernel/tainted")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    Ok(Event::Ended {
        status,
        out,
        err,
        tainted: tainted & TAINTED,
    })
}

/// Puts the namespace on an NVDIMM into fsdax mode: /dev/pmemN with pages.
fn make_pmem(number: u32) -> Result<()> {
    let output = Command::new("ndctl")
        .args(["create-namespace", "-f", "-m", "fsdax", "-e"])
        .arg(format!("namespace{number}.0"))
        .env("PATH", SEARCH)
        .output()
        .context("cannot run ndctl")?;
    let device = PathBuf::from(format!("/dev/pmem{number}"));
    if !output.status.success() || !device.exists() {
        bail!(
            "cannot make {}: {}",
            device.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn command_for(job: &Job, program: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", SEARCH)
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .env("OUT", OUT)
        .env("LAB_IN", IN)
        .env("TERM", &job.term)
        .envs(job.environment.iter().map(|(k, v)| (k, v)))
        .current_dir("/root");
    command
}

/// Starts the job; a file without an interpreter line is the shell's, as
/// anywhere else.
fn start(job: &Job, prepare: impl Fn(&mut Command) -> Result<()>) -> Result<std::process::Child> {
    let program = &job.arguments[0];
    let mut command = command_for(job, program, &job.arguments[1..]);
    prepare(&mut command)?;
    match command.spawn() {
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENOEXEC as i32) => {
            let mut command = command_for(job, "/bin/sh", &job.arguments);
            prepare(&mut command)?;
            Ok(command.spawn()?)
        }
        other => other.with_context(|| format!("cannot run {program}")),
    }
}

/// Copies `from` to the port `name`; the number of bytes comes at the end.
fn carry(from: OwnedFd, name: &'static str) -> Result<mpsc::Receiver<u64>> {
    let mut port = port(name)?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Not io::copy(): it would splice, which a virtio port does badly.  A
        // terminal ends with an error of reading.
        let mut from = File::from(from);
        let mut buffer = vec![0; 32 << 10];
        let mut copied = 0;
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if port.write_all(&buffer[..n]).is_err() {
                break;
            }
            copied += n as u64;
        }
        let _ = sender.send(copied);
    });
    Ok(receiver)
}

/// The job with pipes for its output: it may open /dev/stderr again, which a
/// virtio port would refuse.
fn on_pipes(job: &Job, control: &mut File) -> Result<(i32, u64, u64)> {
    let (out_reader, out_writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let (err_reader, err_writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let out = carry(out_reader, PORTS[2])?;
    let err = carry(err_reader, PORTS[3])?;
    tell(control, &Event::Started)?;
    let child = start(job, |command| {
        command
            .stdin(Stdio::null())
            .stdout(out_writer.try_clone()?)
            .stderr(err_writer.try_clone()?)
            .process_group(0);
        Ok(())
    })?;
    drop((out_writer, err_writer));
    let status = reap_until(Pid::from_raw(child.id() as i32))?;
    let mut counts = [0, 0];
    for (count, receiver) in counts.iter_mut().zip([out, err]) {
        *count = match receiver.recv_timeout(GRACE) {
            Ok(copied) => copied,
            Err(_) => {
                // Somebody was left behind with the job's output in its hands.
                let _ = nix::sys::signal::kill(Pid::from_raw(-1), Signal::SIGKILL);
                receiver.recv().unwrap_or(0)
            }
        };
    }
    Ok((status, counts[0], counts[1]))
}

/// The job with a terminal of its own, for a person.
fn on_terminal(job: &Job, (rows, columns): (u16, u16)) -> Result<(i32, u64, u64)> {
    let size = nix::pty::Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = nix::pty::openpty(Some(&size), None)?;
    let child = start(job, |command| {
        command
            .stdin(pty.slave.try_clone()?)
            .stdout(pty.slave.try_clone()?)
            .stderr(pty.slave.try_clone()?);
        // SAFETY: both calls may be made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                controlling_terminal()
            })
        };
        Ok(())
    })?;
    drop(pty.slave);
    let mut keys = port(PORTS[1])?;
    let mut typed = File::from(pty.master.try_clone()?);
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(n) = keys.read(&mut buffer) {
            if n == 0 {
                std::thread::sleep(Duration::from_millis(50));
            } else if typed.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
    });
    let shown = carry(pty.master, PORTS[2])?;
    let status = reap_until(Pid::from_raw(child.id() as i32))?;
    let out = shown.recv_timeout(GRACE).unwrap_or(0);
    Ok((status, out, 0))
}

fn controlling_terminal() -> std::io::Result<()> {
    nix::ioctl_write_int_bad!(tiocsctty, nix::libc::TIOCSCTTY);
    // SAFETY: the descriptor is the terminal that is standard input.
    unsafe { tiocsctty(0, 0) }?;
    Ok(())
}

/// Waits for everything, as the first process must, until `job` has ended.
fn reap_until(job: Pid) -> Result<i32> {
    loop {
        match nix::sys::wait::waitpid(None::<Pid>, None) {
            Ok(WaitStatus::Exited(pid, status)) if pid == job => return Ok(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == job => {
                return Ok(128 + signal as i32)
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno).context("the job got lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Host and guest agree on the words between them.
    #[test]
    fn events_survive_the_wire() {
        for event in [
            Event::Started,
            Event::Broken {
                reason: "no \"ndctl\"\n".into(),
            },
            Event::Ended {
                status: 137,
                out: 1 << 40,
                err: 0,
                tainted: 512,
            },
        ] {
            let line = serde_json::to_string(&event).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
        }
    }
}
