// SPDX-License-Identifier: GPL-2.0

//! `lab exec` and `lab shell`: something of the user's in the guest.

use std::fs;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use nix::sys::termios::{cfmakeraw, tcgetattr, tcsetattr, SetArg};

use crate::cli::{ExecArgs, ShellArgs};
use crate::exit::{Exit, GUEST_DIED, REPORT, TIMEOUT};
use crate::guest::Job;
use crate::kernel::{self, Wanted};
use crate::lab::{file_hash, Lab};
use crate::machine::{Boot, Ending, Machine, Outcome};
use crate::ui::{self, Step};
use crate::{image, signals};

/// A person's shell may stay open for a day.
const SHELL_LIMIT: Duration = Duration::from_secs(86_400);

/// The kernel and the image to boot.
pub struct Bootable {
    /// The kernel's bzImage.
    pub kernel: PathBuf,
    /// The guest's root file system.
    pub image: PathBuf,
}

/// What the arguments ask to boot.
pub fn asked_for(lab: &Lab, kernel: Option<&Path>, wanted: Wanted) -> Result<Bootable> {
    Ok(Bootable {
        kernel: kernel_asked_for(lab, kernel, wanted)?,
        image: image::prepare(lab)?,
    })
}

/// The bzImage that the arguments ask to boot.
pub fn kernel_asked_for(lab: &Lab, kernel: Option<&Path>, wanted: Wanted) -> Result<PathBuf> {
    let Some(kernel) = kernel else {
        return Ok(kernel::prepare(lab, &kernel::tree(lab)?, wanted)?.image);
    };
    // QEMU sees the cache folder, not the rest of the host.
    let copy = lab
        .cache
        .join("kernels-foreign")
        .join(&file_hash(kernel)?[..16]);
    fs::create_dir_all(&copy)?;
    fs::copy(kernel, copy.join("bzImage"))
        .with_context(|| format!("cannot read {}", kernel.display()))?;
    kernel::keep_recent(lab, "kernels-foreign", &copy);
    Ok(copy.join("bzImage"))
}

/// Refuses what cannot be a script, before anything is built for it.
fn check_script(script: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let shown = script.display();
    let meta = fs::metadata(script).with_context(|| format!("cannot read {shown}"))?;
    if !meta.is_file() {
        bail!("{shown} is not a file");
    }
    if meta.permissions().mode() & 0o111 == 0 {
        bail!("{shown} is not executable: chmod +x {shown}");
    }
    let mut begin = [0; 512];
    let n = fs::File::open(script)
        .and_then(|mut file| file.read(&mut begin))
        .with_context(|| format!("cannot read {shown}"))?;
    if begin[..n].contains(&0) {
        bail!("{shown} is not a text file");
    }
    Ok(())
}

/// Runs a script in the guest; gives its exit status.
pub fn exec(lab: &Lab, args: &ExecArgs) -> Result<i32> {
    let (script, rest) = args.script.split_first().context("a script is required")?;
    if script.starts_with('-') {
        // Everything from the script on is the script's; this came before one.
        bail!("unexpected argument '{script}'; try './lab exec --help'");
    }
    let script = Path::new(script);
    check_script(script)?;
    let machine = args.machine.machine(args.timeout)?;
    if let Some(out) = &args.out {
        fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    }
    let wanted = Wanted {
        variant: args.machine.variant,
        rust: !args.no_rust,
    };
    let bootable = asked_for(lab, args.machine.kernel.as_deref(), wanted)?;
    let mut arguments = vec!["/lab/in/script".to_string()];
    arguments.extend(rest.iter().cloned());
    let mut booting = Some(Step::new("booting", None));
    let outcome = Boot {
        lab,
        kernel: &bootable.kernel,
        image: &bootable.image,
        machine: &machine,
        job: Job {
            arguments,
            environment: vec![("LAB_VARIANT".into(), wanted.name())],
            ..Job::default()
        },
        files: vec![(script.into(), "script".into())],
        share: None,
        out: args.out.clone(),
        stdout: Box::new(std::io::stdout()),
        stderr: Box::new(std::io::stderr()),
        interactive: false,
        on_start: Box::new(|| {
            if let Some(step) = booting.take() {
                step.done();
            }
        }),
        on_tick: Box::new(|| true),
    }
    .run()?;
    status_of(outcome, &machine)
}

/// The exit status that an ending means; all but the job's own end are shown.
pub fn status_of(outcome: Outcome, machine: &Machine) -> Result<i32> {
    let log = outcome.log.display();
    match outcome.ending {
        Ending::Ended(status) => Ok(status),
        Ending::Report { headline, report } => {
            eprintln!("{report}");
            Err(Exit::error(
                REPORT,
                format!("the guest's kernel reported a bug: {headline}\n(all it said is in {log})"),
            ))
        }
        Ending::TimedOut { stacks } => {
            eprintln!("{stacks}");
            Err(Exit::error(
                TIMEOUT,
                format!(
                    "not done after {} seconds; the guest's stacks are above and in {log}",
                    machine.timeout.as_secs()
                ),
            ))
        }
        Ending::Died { reason } => Err(Exit::error(
            GUEST_DIED,
            format!("the guest ended: {reason}\n(all it said is in {log})"),
        )),
    }
}

/// A shell for a person.
pub fn shell(lab: &Lab, args: &ShellArgs) -> Result<i32> {
    let machine = args.machine.machine(SHELL_LIMIT)?;
    let wanted = Wanted::new(args.machine.variant);
    let bootable = asked_for(lab, args.machine.kernel.as_deref(), wanted)?;
    ui::say("booting; exit ends the guest, Ctrl-] kills it");
    let terminal = std::io::stdin().is_terminal();
    let outcome = Boot {
        lab,
        kernel: &bootable.kernel,
        image: &bootable.image,
        machine: &machine,
        job: Job {
            arguments: vec!["/bin/bash".into(), "-l".into()],
            environment: vec![("LAB_VARIANT".into(), wanted.name())],
            terminal: Some(console::Term::stdout().size()),
            term: std::env::var("TERM").unwrap_or_else(|_| "dumb".into()),
            ..Job::default()
        },
        files: vec![],
        share: None,
        out: args.out.clone(),
        stdout: Box::new(std::io::stdout()),
        stderr: Box::new(std::io::stderr()),
        interactive: true,
        on_start: Box::new(move || {
            if terminal {
                raw_terminal();
            }
        }),
        on_tick: Box::new(|| true),
    }
    .run();
    signals::restore_terminal();
    status_of(outcome?, &machine)
}

fn raw_terminal() {
    let Ok(before) = tcgetattr(std::io::stdin()) else {
        return;
    };
    let mut raw = before.clone();
    cfmakeraw(&mut raw);
    signals::keep_terminal(before);
    let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// What is no script is refused in words before a kernel is built for it.
    #[test]
    fn scripts_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert!(check_script(&path).is_err());
        assert!(check_script(dir.path()).is_err());
        fs::write(&path, "#!/bin/sh\n").unwrap();
        let said = check_script(&path).unwrap_err().to_string();
        assert!(said.contains("not executable"), "{said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(check_script(&path).is_ok());
        fs::write(&path, b"\x7fELF\0\0").unwrap();
        assert!(check_script(&path).is_err());
    }
}
