// SPDX-License-Identifier: GPL-2.0

//! Being told to stop: what the lab leaves behind is put away, and its end ends
//! every process that it started (see [`crate::chroot`]).

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Result;
use nix::sys::termios::{tcsetattr, SetArg, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static TERMINAL: Mutex<Option<Termios>> = Mutex::new(None);

/// Starts to listen for the usual signals.
pub fn listen() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            restore_terminal();
            if let Ok(folders) = FOLDERS.lock() {
                for folder in folders.iter() {
                    let _ = std::fs::remove_dir_all(folder);
                }
            }
            eprintln!("lab: interrupted");
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// `folder` is to be removed when the lab is told to stop.
pub fn remember(folder: &Path) {
    if let Ok(mut folders) = FOLDERS.lock() {
        folders.push(folder.into());
    }
}

/// `folder` is gone already.
pub fn forget(folder: &Path) {
    if let Ok(mut folders) = FOLDERS.lock() {
        folders.retain(|f| f != folder);
    }
}

/// Keeps how the terminal was before it was changed.
pub fn keep_terminal(state: Termios) {
    if let Ok(mut kept) = TERMINAL.lock() {
        *kept = Some(state);
    }
}

/// Puts the terminal back as it was.
pub fn restore_terminal() {
    if let Ok(mut kept) = TERMINAL.lock() {
        if let Some(state) = kept.take() {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &state);
        }
    }
}
