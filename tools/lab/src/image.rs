// SPDX-License-Identifier: GPL-2.0

//! The guest's root file system: Debian 13 in an ext4 image that no guest ever
//! writes to (QEMU gives each a throw-away overlay).

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::chroot::Inside;
use crate::lab::{key, Lab};
use crate::source::write_apt;
use crate::ui::Step;

/// About as many lines as mmdebstrap prints, for the progress bar.
const LINES: u64 = 2000;
/// Left free in the image, in MiB: for what a guest writes before it is thrown away.
const SPARE_MIB: u64 = 1024;

/// The first program in the guest.  It only finds the real one, which comes
/// from the lab at each boot, so that a new lab needs no new image.
const INIT: &str = "#!/bin/sh
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=mmap lab_in /lab/in &&
	exec /lab/in/lab guest
echo 'lab: no folder shared by the host' >/dev/console
";

/// Locales and manuals are half the files and nobody reads them in there.
const EXCLUDED: [&str; 3] = [
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/doc/*/changelog*",
];

/// The image, made if it is not there.
pub fn prepare(lab: &Lab) -> Result<PathBuf> {
    prepare_from(lab, &["guestroot.txt"])
}

/// The image with what xfstests needs besides, made if it is not there.
pub fn prepare_for_xfstests(lab: &Lab) -> Result<PathBuf> {
    prepare_from(lab, &["guestroot.txt", "guestroot-xfstests.txt"])
}

/// The image with the packages of these lists.
fn prepare_from(lab: &Lab, lists: &[&str]) -> Result<PathBuf> {
    let mut recipe = String::new();
    for list in lists {
        recipe += &fs::read_to_string(lab.own(list))
            .with_context(|| format!("cannot read the guest's package list {list}"))?;
    }
    let packages: Vec<&str> = packages(&recipe);
    let name = key([
        packages.join("\n").as_bytes(),
        INIT.as_bytes(),
        EXCLUDED.join("\n").as_bytes(),
        b"image 1",
    ]);
    let dir = lab.cache.join("images").join(name);
    let image = dir.join("root.ext4");
    if image.is_file() {
        return Ok(image);
    }
    let _lock = lab.lock("image")?;
    if image.is_file() {
        return Ok(image);
    }
    lab.need_space(4000, "the guest's image")?;
    write_apt(lab)?;
    let scratch = lab.scratch()?;
    fs::write(scratch.path().join("init"), INIT)?;
    let log = lab.cache.join("image.log");
    let _ = fs::remove_file(&log);
    let mut step = Step::new(
        "making the guest's root image (Debian 13, once)",
        Some(LINES),
    );
    let mut line: Vec<String> = vec![
        "mmdebstrap".into(),
        "--verbose".into(),
        "--mode=root".into(),
    ];
    line.extend(["--variant=minbase".into(), "--components=main".into()]);
    line.extend(EXCLUDED.map(|glob| format!("--dpkgopt=path-exclude={glob}")));
    line.push(format!("--include={}", packages.join(",")));
    line.extend(["--aptopt=APT::Sandbox::User \"root\"".into()]);
    for option in apt_options(lab)? {
        line.push(format!("--aptopt={option}"));
    }
    line.extend(["trixie".into(), "root".into(), "sources".into()]);
    let sources = fs::read_to_string(lab.root.join("etc/apt/sources.list"))?;
    let sources: Vec<&str> = sources
        .lines()
        .filter(|line| !line.contains("-backports"))
        .collect();
    fs::write(scratch.path().join("sources"), sources.join("\n") + "\n")?;
    let work = lab.in_root(scratch.path());
    Inside::new(lab, line)
        .directory(&work)
        .run_logged(&mut step, &log)
        .context("no network? cannot install the guest's root")?;
    step.at("writing the file system");
    let script = format!(
        "cd root && rm -rf var/cache/apt var/lib/apt/lists/* var/log/* && \
         mkdir -p lab/in lab/out mnt && install -m 755 ../init sbin/lab-init && cd .. && \
         size=$(( $(du -sm --apparent-size root | cut -f1) * 5 / 4 + {SPARE_MIB} )) && \
         mke2fs -q -t ext4 -O ^has_journal -m 0 -N 60000 -L lab -d root root.ext4 ${{size}}M"
    );
    Inside::new(lab, ["bash", "-euc", &script])
        .directory(&work)
        .run_logged(&mut step, &log)?;
    fs::create_dir_all(&dir)?;
    fs::rename(scratch.path().join("root.ext4"), &image)?;
    step.done();
    Ok(image)
}

fn packages(recipe: &str) -> Vec<&str> {
    recipe
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim())
        .filter(|line| !line.is_empty())
        .collect()
}

/// The host's apt options, as bootstrap.sh put them into the build root.
fn apt_options(lab: &Lab) -> Result<Vec<String>> {
    let text = fs::read_to_string(lab.root.join("etc/apt/apt.conf.d/99lab")).unwrap_or_default();
    Ok(text
        .lines()
        .map(|line| line.trim_end_matches(';').to_string())
        .filter(|line| !line.is_empty())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Comments in the package list are for people.
    #[test]
    fn package_list_is_read() {
        assert_eq!(packages("# a\n\nacl\nfio # fast\n"), ["acl", "fio"]);
    }
}
