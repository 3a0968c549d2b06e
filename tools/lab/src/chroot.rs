// SPDX-License-Identifier: GPL-2.0

//! Running a command in the build root.
//!
//! The lab starts itself again as `lab enter`, which makes mount and process
//! namespaces of its own, mounts what is needed, and becomes the parent of the
//! command.  All of it is undone by the kernel when that process ends, however
//! it ends: no mount is left on the host and no process either.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};
use nix::fcntl::OFlag;
use nix::mount::{mount, MsFlags};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::lab::Lab;
use crate::ui::Step;

/// What to show of the output of a command that failed.
const TAIL_LINES: usize = 30;

/// What `lab enter` is told: plain data, passed as JSON.
#[derive(Serialize, Deserialize)]
struct Entry {
    root: PathBuf,
    binds: Vec<(PathBuf, PathBuf)>,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// A command to run in the build root.
pub struct Inside<'a> {
    lab: &'a Lab,
    entry: Entry,
    on_host: bool,
}

impl<'a> Inside<'a> {
    /// A command line; no shell looks at it.
    pub fn new<S: Into<String>>(lab: &'a Lab, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut environment: Vec<(String, String)> = [
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("CARGO_HTTP_CAINFO", "/etc/ssl/certs/ca-certificates.crt"),
        ]
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .into();
        let cache = lab.in_root(&lab.cache);
        environment.push(("TMPDIR".into(), cache.join("tmp").display().to_string()));
        environment.push((
            "CARGO_HOME".into(),
            cache.join("cargo").display().to_string(),
        ));
        for name in ["http_proxy", "https_proxy", "no_proxy"] {
            if let Ok(value) = std::env::var(name) {
                environment.push((name.into(), value));
            }
        }
        Inside {
            lab,
            on_host: lab.is_inside(),
            entry: Entry {
                root: lab.root.clone(),
                binds: vec![],
                directory: "/".into(),
                environment,
                arguments: arguments.into_iter().map(Into::into).collect(),
            },
        }
    }

    /// cargo for the crate in `folder` of the checkout; what it makes goes to `target` in the
    /// lab's part of the cache.
    pub fn cargo(
        lab: &'a Lab,
        folder: &str,
        target: &str,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Inside::new(lab, ["cargo"])
            .args(arguments)
            .directory(format!("/repo/{folder}"))
            .env("CARGO_TARGET_DIR", format!("/lab/cache/lab/{target}"))
    }

    /// More arguments.
    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.entry
            .arguments
            .extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the command's environment.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        // Of two entries with one name, C programs take the first.
        self.entry.environment.retain(|(known, _)| known != name);
        self.entry.environment.push((name.into(), value.into()));
        self
    }

    /// Makes the host's `from` visible as `to`, an existing path in the root.
    pub fn bind(mut self, from: &Path, to: &str) -> Self {
        self.entry.binds.push((from.into(), to.into()));
        self
    }

    /// Runs it on the host after all, for what lies there in its own ways.
    pub fn on_host(mut self) -> Self {
        self.on_host = true;
        self
    }

    /// The folder that the command starts in, as the root calls it.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.entry.directory = path.into();
        self
    }

    /// The command, ready to be given its standard streams.
    pub fn command(&self) -> Result<Command> {
        if self.on_host {
            let mut command = Command::new(&self.entry.arguments[0]);
            command
                .args(&self.entry.arguments[1..])
                .stdin(Stdio::null())
                .envs(self.entry.environment.iter().map(|(k, v)| (k, v)))
                .current_dir(&self.entry.directory);
            return Ok(command);
        }
        let mut entry = serde_json::to_value(&self.entry)?;
        let binds = entry["binds"].as_array_mut().context("binds is a list")?;
        for (from, to) in [(&self.lab.cache, "/lab/cache"), (&self.lab.top, "/repo")] {
            binds.insert(0, serde_json::to_value((from, to))?);
        }
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("enter")
            .arg(entry.to_string())
            .stdin(Stdio::null());
        Ok(command)
    }

    /// The first word, for messages.
    fn name(&self) -> &str {
        &self.entry.arguments[0]
    }

    /// Runs it for its standard output.  Its standard error is part of the
    /// error if it fails.
    pub fn output(&self) -> Result<Vec<u8>> {
        self.output_with(&[])
    }

    /// Like [`Inside::output`], with `input` on its standard input.
    pub fn output_with(&self, input: &[u8]) -> Result<Vec<u8>> {
        let (status, out, err) = self.outcome(input)?;
        if status != Some(0) {
            bail!(
                "{} failed:\n{}",
                self.entry.arguments.join(" "),
                String::from_utf8_lossy(&err).trim_end()
            );
        }
        Ok(out)
    }

    /// Runs it to its end, whatever that is: exit status (none when killed),
    /// standard output, standard error.
    pub fn outcome(&self, input: &[u8]) -> Result<(Option<i32>, Vec<u8>, Vec<u8>)> {
        use std::io::Write;
        let mut child = self
            .command()?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.name()))?;
        let mut stdin = child.stdin.take().context("stdin was asked for")?;
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A command may end without reading all of it.
                let _ = stdin.write_all(input);
            });
            child.wait_with_output()
        })?;
        Ok((output.status.code(), output.stdout, output.stderr))
    }

    /// Runs it, counting each line that it prints as one unit of `step`; all
    /// that it says goes to the file `log`, its end into the error if it fails.
    pub fn run_logged(&self, step: &mut Step, log: &Path) -> Result<()> {
        use std::io::{BufRead, BufReader, Write};
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let mut command = self.command()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.name()))?;
        // The command holds the writing end: reading ends when the child does.
        drop(command);
        let mut tail = std::collections::VecDeque::new();
        for line in BufReader::new(std::fs::File::from(reader)).split(b'\n') {
            let line = line?;
            file.write_all(&line)?;
            file.write_all(b"\n")?;
            let text = String::from_utf8_lossy(&line).into_owned();
            step.advance(&text);
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(text);
        }
        let status = child.wait()?;
        if !status.success() {
            let tail: Vec<String> = tail.into();
            bail!(
                "{} failed; the end of {}:\n{}",
                self.name(),
                log.display(),
                tail.join("\n")
            );
        }
        Ok(())
    }
}

fn bind(from: &Path, to: &Path, recursive: bool) -> Result<()> {
    let mut flags = MsFlags::MS_BIND;
    if recursive {
        flags |= MsFlags::MS_REC;
    }
    mount(Some(from), to, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("cannot mount {} on {}", from.display(), to.display()))
}

/// The host's file `from` in place of the root's `name`.
fn bind_file(root: &Path, from: &OsStr, name: &str) -> Result<()> {
    let Ok(from) = std::fs::canonicalize(from) else {
        return Ok(());
    };
    let to = root.join(&name[1..]);
    if !to.is_file() || to.is_symlink() {
        let _ = std::fs::remove_file(&to);
        std::fs::write(&to, "")?;
    }
    bind(&from, &to, false)
}

/// `lab enter`: makes the namespaces and runs the command in them.  Gives the
/// command's exit status.
pub fn enter(entry: &str) -> Result<i32> {
    let entry: Entry = serde_json::from_str(entry).context("lab enter is not for people")?;
    // The lab's end is this process's end, and that one ends all in the namespace.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    nix::sched::unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
        .context("cannot make namespaces: the lab needs CAP_SYS_ADMIN")?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    // SAFETY: this process has a single thread.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => wait_for(child),
        nix::unistd::ForkResult::Child => {
            if let Err(error) = become_command(&entry) {
                eprintln!("lab: {error:#}");
            }
            std::process::exit(127);
        }
    }
}

fn wait_for(child: nix::unistd::Pid) -> Result<i32> {
    use nix::sys::wait::{waitpid, WaitStatus};
    // A signal of the terminal is for the lab, which then ends everything.
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        // SAFETY: ignoring a signal runs no handler.
        unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigIgn) }?;
    }
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, status)) => return Ok(status),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
            Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn become_command(entry: &Entry) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    let root = &entry.root;
    bind(root, root, true)?;
    bind(Path::new("/dev"), &root.join("dev"), true)?;
    bind(Path::new("/sys"), &root.join("sys"), true)?;
    mount(
        Some("proc"),
        &root.join("proc"),
        Some("proc"),
        MsFlags::empty(),
        None::<&str>,
    )
    .context("cannot mount /proc in the build root")?;
    for (from, to) in &entry.binds {
        let to = root.join(to.strip_prefix("/").unwrap_or(to));
        if from.is_dir() {
            std::fs::create_dir_all(&to)?;
        }
        bind(from, &to, true)?;
    }
    let ca = std::env::var_os("SSL_CERT_FILE")
        .unwrap_or_else(|| OsString::from("/etc/ssl/certs/ca-certificates.crt"));
    bind_file(root, &ca, "/etc/ssl/certs/ca-certificates.crt")?;
    bind_file(root, OsStr::new("/etc/resolv.conf"), "/etc/resolv.conf")?;
    bind_file(root, OsStr::new("/etc/hosts"), "/etc/hosts")?;
    nix::unistd::chroot(root).context("cannot enter the build root")?;
    nix::unistd::chdir(&entry.directory)
        .with_context(|| format!("cannot enter {}", entry.directory.display()))?;

    let text = |s: &str| CString::new(s).context("a zero byte in a command line");
    let arguments = entry
        .arguments
        .iter()
        .map(|a| text(a))
        .collect::<Result<Vec<_>>>()?;
    let environment = entry
        .environment
        .iter()
        .map(|(k, v)| text(&format!("{k}={v}")))
        .collect::<Result<Vec<_>>>()?;
    // The lookup of the program uses the PATH of the environment given.
    let path = entry
        .environment
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map_or("/usr/bin", |(_, value)| value);
    let program = find(OsStr::new(&entry.arguments[0]), path);
    let program = CString::new(program.as_os_str().as_bytes())?;
    nix::unistd::execve(&program, &arguments, &environment)
        .with_context(|| format!("cannot run {} in the build root", entry.arguments[0]))?;
    Ok(())
}

fn find(program: &OsStr, path: &str) -> PathBuf {
    if !program.as_bytes().contains(&b'/') {
        for dir in path.split(':') {
            let candidate = Path::new(dir).join(program);
            if candidate.is_file() {
                return candidate;
            }
        }
    }
    PathBuf::from(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempLab;

    /// A variable that is set twice has its last value, not both.
    #[test]
    fn last_value_wins() {
        let temp = TempLab::new();
        let inside = Inside::new(&temp.lab, ["true"])
            .env("GIT_AUTHOR_NAME", "first")
            .env("GIT_AUTHOR_NAME", "second");
        let values: Vec<_> = inside
            .entry
            .environment
            .iter()
            .filter(|(name, _)| name == "GIT_AUTHOR_NAME")
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(values, ["second"]);
    }
}
