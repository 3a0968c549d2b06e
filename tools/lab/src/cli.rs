// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::kernel::Variant;
use crate::machine::Machine;
use crate::size::Size;
use crate::xfstests::Config;

const AFTER: &str = "\
Everything that the lab makes lies in one folder, $LAB_CACHE (default: \
tagged-page-cache-lab in $XDG_CACHE_HOME or ~/.cache), under a name made from \
what went into it. Removing any part of it while no lab runs only costs the \
time to make it again; but edit/ holds what was edited and not refreshed. Of the \
built kernels the last dozen used are kept.

$LINUX_TARBALL names a tarball of Linux 7.3.y to use, as kernel.org ships it; \
without it, Debian's linux-source-7.3 is fetched by apt.

Exit status: 0 done; 1 a test failed or a measurement missed its limit; \
2 wrong arguments, or something that the lab needs is missing; \
123 the guest's kernel reported a bug; 124 the time limit passed; \
125 the guest ended before its job did.";

/// Behind the help of the commands that boot a guest.
const GUEST: &str = "\
The guest: a Debian 13 root file system (read-only, with an overlay that is \
thrown away), QEMU with NUMA nodes, emulated NVDIMMs and virtio disks. KVM is \
used when the processor has it (vmx or svm in /proc/cpuinfo) and /dev/kvm works, \
else QEMU emulates. A panic, an oops, a WARNING, a report of lockdep or KASAN in \
the guest's log fails whatever runs: the report is shown and QEMU ended at once. \
When the time limit passes, the guest's stacks are shown (sysrq-w, sysrq-t).";

const EXEC_STATUS: &str = "\
Exit status: the script's own, 128 and the signal's number if one killed it; \
2 wrong arguments, or something that the lab needs is missing; \
123 the guest's kernel reported a bug; 124 the time limit passed; \
125 the guest ended before the script did.";

const RUN_STATUS: &str = "\
Exit status: 0 only if all bytes are right and the shared run needs at most 1.05 \
times the page cache of one copy; 1 if not; \
2 wrong arguments, or something that the lab needs is missing; \
123 the guest's kernel reported a bug; 124 the time limit passed; \
125 the guest ended before it was done.";

const BENCH_STATUS: &str = "\
Exit status: 0 only if all targets that were asked for are met; 1 if one is missed, \
or could not be measured; \
2 wrong arguments, or something that the lab needs is missing; \
123 a guest's kernel reported a bug; 124 a time limit passed; \
125 a guest ended before it was done. After any of these three, what is left is \
measured all the same.";

const TEST_STATUS: &str = "\
Exit status: 0 no test failed; 1 a test failed; \
2 wrong arguments, or something that the lab needs is missing.";

const XFSTESTS_STATUS: &str = "\
Exit status: 0 no test failed, or with --against nothing that passed there failed \
to do so here; 1 otherwise; \
2 wrong arguments, or something that the lab needs is missing; \
123, 124, 125 as of exec, if the guest did not come as far as the first test.";

const COCCI_STATUS: &str = "\
Exit status: 0 all patches are what is made; 1 one is not; \
2 wrong arguments, or something that the lab needs is missing.";

fn guest_and(status: &str) -> String {
    format!("{GUEST}\n\n{status}")
}

/// The kernels that carry the series.
fn with_series() -> impl TypedValueParser<Value = Variant> {
    let known = [Variant::Patched, Variant::Debug];
    PossibleValuesParser::new(known.iter().filter_map(ValueEnum::to_possible_value)).map(
        move |name| match Variant::from_str(&name, false) {
            Ok(variant) => variant,
            Err(_) => unreachable!("one of the names above"),
        },
    )
}

/// Builds the kernel with the tagged page cache series, boots it in QEMU,
/// measures it, tests it.
#[derive(Parser)]
#[command(name = "lab", bin_name = "./lab", after_help = AFTER, max_term_width = 90)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// The demonstration: a real directory tree, cloned on reflinked XFS, read
    /// with and without sharing the page cache
    ///
    /// Puts the guest's /usr on XFS on /dev/pmem0, makes clones of it with "cp -a
    /// --reflink=always", drops the caches, reads every file of every clone,
    /// first mounted noshare_cache, then share_cache, and compares every byte of
    /// every clone with the original. Prints side by side, and as a picture: page
    /// cache used, bytes read from the device, pages donated and attached, the
    /// kernel memory that aliases and fragments take, what was compared. The same
    /// is in run.json in --out, with the keys one_copy_bytes, private and shared
    /// (page_cache_bytes and device_read_bytes in each), verified, and more.
    /// Takes under ten minutes once the kernel is built.
    #[command(after_help = guest_and(RUN_STATUS))]
    Run(RunArgs),

    /// Measures what the series costs and what it saves, and says which targets are
    /// met
    ///
    /// Boots the kernel without the series and the one with it: some times each with
    /// --icount, for costs (in instructions; the least of all boots counts), and once
    /// each without, for memory and I/O. Prints one table with both and the ratio:
    /// page cache and reads of clones of a tree (1, 2), cached reads (3, 4), faults
    /// (5), the first read of a clone of a cached file (6), first writes (7), reclaim
    /// (8), inodes (9), kernel memory (10), more clones than there is memory for (11),
    /// disk images on loop devices (12). Beside 1 and 2 stands what users would take
    /// instead, in the same guest: overlayfs, EROFS with inode_share, plain copies.
    /// Documentation/mm/page_cache/bench.rst has what each row says.
    ///
    /// All of it takes an hour or two once the kernels are built, mostly 11 and the
    /// boots that count; --only takes numbers and names of measures.
    #[command(after_help = guest_and(BENCH_STATUS))]
    Bench(BenchArgs),

    /// Runs the tests, one line each; the last line is "N passed, N failed",
    /// after "N skipped" when there were any
    ///
    /// Groups: "host" (unit tests of the lab and the model), "model" (the protocol
    /// of sharing, over all interleavings), "lab" (the lab with a guest),
    /// "types" (what the types of the Rust code forbid, which must not compile),
    /// "kunit" (unit tests in the kernel), "selftests" (programs of
    /// tools/testing/selftests/page_cache in the guest), "tool" (what
    /// tools/mm/cachemap says of files in the guest), "torture" (random
    /// operations against a model, two minutes). A NAME is a group, or the
    /// beginning of a test's name as it is printed; without one, all of these are
    /// run. What a failed test said goes to standard error.
    ///
    /// Two more are run only when they are named. "inject": torture with failing
    /// allocations, then with failing reads of the disk, then each allocation of a
    /// few operations in turn, which only the kernel of --variant debug can do. "stress": stress-ng's stressors of mappings, page
    /// cache, memory hot-plug and reclaim, one after the other, on files that are
    /// cloned while they are used, in little memory, while clones with known
    /// content are compared all the time ("stress.compare") and nothing may be left
    /// of what was shared after unmount ("stress.leak"); a quarter of an hour, an
    /// hour with --variant debug.
    #[command(after_help = guest_and(TEST_STATUS))]
    Test(TestArgs),

    /// Builds a kernel if it is not in the cache; prints the path of its bzImage
    ///
    /// The source is $LINUX_TARBALL (any Linux 7.3.y, as kernel.org ships it), or
    /// else Debian's linux-source-7.3. Only the variant that is asked for is
    /// built, with ccache; one that any checkout on this machine has built from
    /// the same source, series and configuration is not built again.
    ///
    /// With --all-users nothing is kept to boot: prints which of the touched files
    /// cannot be compiled and why, how many there are, and how many warnings, before
    /// and after. Exit status 1: a file was left out, or there is a new warning.
    Build(BuildArgs),

    /// Boots and runs a script in the guest, as root, with its own output and
    /// exit status and nothing else on standard output
    ///
    /// In the script, $OUT is a folder whose content is in --out afterwards.
    /// Files written there are the host's at once. /dev/pmem0 and /dev/pmem1 are
    /// in fsdax mode, disks are /dev/vdb, /dev/vdc, ...; all of them empty. The
    /// root file system can be written to and is thrown away.
    #[command(after_help = guest_and(EXEC_STATUS))]
    Exec(ExecArgs),

    /// Runs an xfstests tree of your own in the guest, one line for each test; the
    /// last line is "N passed, N failed"
    ///
    /// DIR holds xfstests' check, built or installed as its README says, for Debian
    /// 13 or anything that runs there. It is not written to: the guest has it
    /// read-only, with an overlay that is thrown away. Devices, users, udev and the
    /// programs that tests call are the lab's business. What follows DIR goes to
    /// check: names of tests, -g, -x, -X, -e, -E, -r, --exact-order, -l, -udiff;
    /// without any, the group "auto" is run.
    ///
    /// A test that takes longer than --test-timeout, or in which the guest goes down
    /// or its kernel reports a bug, has failed, and the rest is run in another guest.
    /// In --out are results.json, junit.xml, and of each failed test its .out.bad,
    /// .full, .dmesg, of one that ended the guest also .report or .stacks, and
    /// .console.
    #[command(after_help = guest_and(XFSTESTS_STATUS))]
    Xfstests(XfstestsArgs),

    /// A shell in the guest; Ctrl-] ends a guest that no longer answers
    #[command(after_help = guest_and(EXEC_STATUS))]
    Shell(ShellArgs),

    /// Writes the series as mails that "git am" takes on Linux 7.3
    ///
    /// 0000-cover-letter.patch, then 0001-....patch and on, one for each commit;
    /// a new file is in the commit that needs it.
    Export(ExportArgs),

    /// Checks the patches that a semantic patch makes, or runs one in another tree
    ///
    /// For each patch that has "cocci" in patches/series.toml: the semantic patch
    /// is run by Coccinelle (of the build root) on the tree before that patch, on
    /// the C files with a word of its line "// Files:", one by one, with what its
    /// line "// Options:" says; what comes out must be what the patch makes, but
    /// for the files under "by_hand", and the patch's message must quote the rules.
    /// Prints a line for each patch, and what differs. A NAME is that of a semantic
    /// patch (the file's, without .cocci), or a part of a patch's file name;
    /// without one, all are checked.
    ///
    /// With --onto, one semantic patch is run in another kernel's tree, to bring
    /// the series there: prints which files it changed, and which the patch has
    /// changed by hand. Nothing is committed.
    #[command(after_help = COCCI_STATUS)]
    Cocci(CocciArgs),

    /// Prepares a kernel tree for editing, with the series as commits, and
    /// prints its path; "refresh" takes the edits back
    Tree(TreeArgs),

    /// Takes what was edited in the prepared tree back into this repository
    ///
    /// The commits since the unpatched one become the patches; files that the
    /// kernel does not have are written whole to their path. What is not
    /// committed is taken back too: a new file as it is; an edit of an existing
    /// file goes into the one patch that touches that file, or into --into.
    Refresh(RefreshArgs),

    /// Runs a command in the build root (the lab calls itself)
    #[command(hide = true)]
    Enter {
        /// What to do, as JSON.
        entry: String,
    },

    /// Is the first process of the guest
    #[command(hide = true)]
    Guest,

    /// Reads every file below the folders once (in the guest)
    #[command(hide = true)]
    GuestRead {
        /// The folders.
        folders: Vec<PathBuf>,
    },

    /// Compares every file of the copies with the original (in the guest)
    #[command(hide = true)]
    GuestCompare {
        /// The original.
        original: PathBuf,
        /// Its copies.
        copies: Vec<PathBuf>,
    },
}

/// Arguments about the machine, shared by the commands that boot one.
#[derive(Args, Clone)]
pub struct MachineArgs {
    /// The kernel: patched, base (without the series) or debug
    #[arg(long, value_enum, default_value = "patched")]
    pub variant: Variant,
    /// Boot this bzImage instead, whatever it was built from
    #[arg(long, value_name = "FILE", conflicts_with = "variant")]
    pub kernel: Option<PathBuf>,
    /// Memory of the guest
    #[arg(long, default_value = "3G")]
    pub mem: Size,
    /// Processors of the guest, up to 8 [default: 2, or 1 with --icount]
    #[arg(long)]
    pub cpus: Option<u32>,
    /// NUMA nodes of the guest: 1 or 2 [default: 2, or 1 with one processor]
    #[arg(long)]
    pub numa: Option<u32>,
    /// Size of each of the pmem devices /dev/pmem0 and /dev/pmem1; 0 for none
    #[arg(long, default_value = "1G")]
    pub pmem: Size,
    /// An empty disk of this size; may be given several times: /dev/vdb,
    /// /dev/vdc, ...
    #[arg(long = "disk", value_name = "SIZE")]
    pub disks: Vec<Size>,
    /// More for the kernel's command line
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// Count instructions instead of time, to compare costs on a noisy machine:
    /// one processor, -icount shift=0,sleep=off, a CPU model without erms and
    /// fsrm, no random addresses; the guest's clocks repeat to a few parts in a
    /// thousand for what does not wait for a disk
    #[arg(long)]
    pub icount: bool,
}

impl MachineArgs {
    /// The machine that they describe.
    pub fn machine(&self, timeout: Duration) -> anyhow::Result<Machine> {
        let cpus = self.cpus.unwrap_or(if self.icount { 1 } else { 2 });
        let numa = self.numa.unwrap_or(Machine::nodes(cpus));
        let machine = Machine {
            mem: self.mem,
            cpus,
            numa,
            pmem: self.pmem,
            disks: self.disks.clone(),
            append: self.append.clone(),
            icount: self.icount,
            timeout,
        };
        machine.check()?;
        Ok(machine)
    }
}

/// Seconds, as an argument.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(n @ 1..=86_400) => Ok(Duration::from_secs(n)),
        _ => Err(format!(
            "'{text}' is not a number of seconds from 1 to 86400"
        )),
    }
}

/// Arguments of `run`.
#[derive(Args)]
pub struct RunArgs {
    /// How many clones of the tree
    #[arg(short = 'k', long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub clones: u32,
    /// Memory of the guest; it has to hold all clones at once [default: by the
    /// number of clones]
    #[arg(long)]
    pub mem: Option<Size>,
    /// Where run.json and the guest's log go
    #[arg(long, default_value = "lab-run")]
    pub out: PathBuf,
    /// The kernel: patched or debug
    #[arg(long, value_parser = with_series(), default_value = "patched")]
    pub variant: Variant,
    /// Boot this bzImage instead, whatever it was built from
    #[arg(long, value_name = "FILE", conflicts_with = "variant")]
    pub kernel: Option<PathBuf>,
    /// The time limit, boot included
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = seconds)]
    pub timeout: Duration,
}

/// What `bench --only` takes.
fn bench_name(text: &str) -> Result<String, String> {
    let names = crate::bench::names();
    match names.iter().any(|name| name == text) {
        true => Ok(text.into()),
        false => Err(format!("'{text}' is none of {}", names.join(", "))),
    }
}

/// Arguments of `bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// Measure only this, a number of the table or a measure; may be given several
    /// times: clones, overlay, erofs, copies, read, fault, warm, write, reclaim,
    /// inode, memory, many, images
    #[arg(long, value_name = "NAME", value_parser = bench_name)]
    pub only: Vec<String>,
    /// How often to boot each kernel for what is counted: boots fall into two groups,
    /// some instructions per call apart
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub boots: u32,
    /// Boot this bzImage as the kernel with the series
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Boot this bzImage as the kernel without the series
    #[arg(long, value_name = "FILE")]
    pub base_kernel: Option<PathBuf>,
    /// Write all numbers to this file, for programs: "passed", "rows" with the table's
    /// columns, "measured" with what is in no row, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a chart of the ratios to this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// The time limit of each boot
    #[arg(long, value_name = "SECONDS", default_value = "7200", value_parser = seconds)]
    pub timeout: Duration,
}

/// Arguments of `test`.
#[derive(Args)]
pub struct TestArgs {
    /// Groups of tests, or beginnings of names
    pub names: Vec<String>,
    /// The kernel that the guest's tests run on
    #[arg(long, value_parser = with_series(), default_value = "patched")]
    pub variant: Variant,
    /// Boot this bzImage instead, whatever it was built from
    #[arg(long, value_name = "FILE", conflicts_with = "variant")]
    pub kernel: Option<PathBuf>,
    /// The torture test's seed [default: a new one, which is printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// How long the torture test runs
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub torture: Duration,
}

/// Arguments of `build`.
#[derive(Args)]
pub struct BuildArgs {
    /// The kernel: patched, base (without the series) or debug
    #[arg(long, value_enum, default_value = "patched")]
    pub variant: Variant,
    /// With CONFIG_RUST=n and without what needs it
    #[arg(long)]
    pub no_rust: bool,
    /// Build the guest's image and the selftests too
    #[arg(long)]
    pub all: bool,
    /// Instead, with every file system, and see that all C files that the patches
    /// with a semantic patch touch are compiled and linked, and that W=1 and
    /// sparse find nothing in them that they do not find without the series
    #[arg(long, conflicts_with_all = ["variant", "all"])]
    pub all_users: bool,
}

/// Arguments of `exec`.
#[derive(Args)]
pub struct ExecArgs {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// The time limit, boot included; when it passes, the guest's stacks are shown
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub timeout: Duration,
    /// Where to find what the script leaves in $OUT
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Use a kernel with CONFIG_RUST=n
    #[arg(long)]
    pub no_rust: bool,
    /// An executable text file of the host, and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_names = ["SCRIPT", "ARG"]
    )]
    pub script: Vec<String>,
}

/// Arguments of `xfstests`.
#[derive(Args)]
pub struct XfstestsArgs {
    /// The kernel: patched, base (without the series) or debug
    #[arg(long, value_enum, default_value = "patched")]
    pub variant: Variant,
    /// Boot this bzImage instead, whatever it was built from
    #[arg(long, value_name = "FILE", conflicts_with = "variant")]
    pub kernel: Option<PathBuf>,
    /// Run the same on this kernel before, and print only the tests that come out
    /// otherwise; what came out there is in --out, in the folder against-VARIANT
    #[arg(long, value_enum, value_name = "VARIANT")]
    pub against: Option<Variant>,
    /// What the file systems are like
    #[arg(long, value_enum, default_value = "xfs")]
    pub config: Config,
    /// Size of each device [default: 6G, or 3G of pmem, which is this machine's
    /// memory]
    #[arg(long)]
    pub size: Option<Size>,
    /// Memory of the guest
    #[arg(long, default_value = "3G")]
    pub mem: Size,
    /// Processors of the guest, up to 8; with one, an emulated guest forks in two
    /// thirds of the time, and races of two processors are not seen
    #[arg(long, default_value = "2")]
    pub cpus: u32,
    /// How long one test may take
    #[arg(long, value_name = "SECONDS", default_value = "1200", value_parser = seconds)]
    pub test_timeout: Duration,
    /// Where the results go, a new or empty folder [default: a new one in the
    /// cache, which is printed; the last dozen are kept]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// The xfstests tree
    pub dir: PathBuf,
    /// For check: which tests
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CHECK-ARG"
    )]
    pub check: Vec<String>,
}

/// Arguments of `shell`.
#[derive(Args)]
pub struct ShellArgs {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Where to find what is left in $OUT
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Arguments of `export`.
#[derive(Args)]
pub struct ExportArgs {
    /// The folder to write to; patches of an earlier export in it are replaced
    pub dir: PathBuf,
    /// Build the kernel after each patch (long)
    #[arg(long)]
    pub every_step: bool,
    /// Show what checkpatch.pl --strict says about each
    #[arg(long)]
    pub checkpatch: bool,
}

/// Arguments of `cocci`.
#[derive(Args)]
pub struct CocciArgs {
    /// Semantic patches, or parts of patches' file names
    pub names: Vec<String>,
    /// Run the semantic patch NAME (exactly one) in this kernel tree, which must be
    /// a git work tree without changes
    #[arg(long, value_name = "DIR", requires = "names")]
    pub onto: Option<PathBuf>,
}

/// Arguments of `tree`.
#[derive(Args)]
pub struct TreeArgs {
    /// Throw away what was edited there and not refreshed
    #[arg(long)]
    pub reset: bool,
}

/// Arguments of `refresh`.
#[derive(Args)]
pub struct RefreshArgs {
    /// The tree to take from [default: the one that "lab tree" prints]
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// The unpatched commit in it [default: the tag lab-base]
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,
    /// The patch (its number or the beginning of its file name) that takes what
    /// is not committed
    #[arg(long, value_name = "PATCH")]
    pub into: Option<String>,
    /// Only say what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Overwrite what the repository has and the tree was not prepared from
    #[arg(long)]
    pub force: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// The definition itself is sound.
    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// Arguments after the script are the script's, whatever they look like.
    #[test]
    fn script_keeps_its_arguments() {
        let cli = Cli::parse_from(["lab", "exec", "--mem", "1G", "s.sh", "--mem", "-x", "--"]);
        let Command::Exec(exec) = cli.command else {
            panic!("not exec");
        };
        assert_eq!(exec.script, ["s.sh", "--mem", "-x", "--"]);
        assert_eq!(exec.machine.mem, Size(1 << 30));
    }

    /// What follows the xfstests tree is check's, but for the lab's own options.
    #[test]
    fn check_keeps_its_arguments() {
        let cli = Cli::parse_from([
            "lab", "xfstests", "/t", "--config", "xfs-1k", "-g", "quick", "xfs/001",
        ]);
        let Command::Xfstests(args) = cli.command else {
            panic!("not xfstests");
        };
        assert_eq!(args.config, Config::Xfs1k);
        assert_eq!(args.check, ["-g", "quick", "xfs/001"]);
        assert_eq!(args.dir, PathBuf::from("/t"));
    }

    /// Wrong values are refused at the command line.
    #[test]
    fn wrong_values_are_refused() {
        for line in [
            &["lab", "exec", "--mem", "lots", "s"][..],
            &["lab", "exec", "--timeout", "0", "s"],
            &["lab", "exec", "--variant", "best", "s"],
            &["lab", "exec"],
            &["lab", "run", "-k", "0"],
            &["lab", "run", "--variant", "base"],
            &["lab", "test", "--variant", "base"],
            &["lab", "bench", "--only", "everything"],
            &["lab", "bench", "--only", "13"],
            &["lab", "bench", "--boots", "0"],
            &["lab", "cocci", "--onto", "/linux"],
            &["lab", "xfstests"],
            &["lab", "xfstests", "--config", "ext4", "/tree"],
            &["lab", "xfstests", "--against", "best", "/tree"],
            &["lab", "xfstests", "--test-timeout", "0", "/tree"],
            &["lab", "xfstests", "--size", "6", "/tree"],
            &["lab", "xfstests", "--cpus", "all", "/tree"],
            &["lab", "build", "--all-users", "--variant", "debug"],
            &["lab", "dance"],
            &["lab"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?} was taken");
        }
    }

    /// Each command's help says by itself what one has to know.
    #[test]
    fn help_is_complete() {
        let mut cli = Cli::command();
        let wanted: [(&str, &[&str]); 10] = [
            (
                "run",
                &[
                    "run.json",
                    "one_copy_bytes",
                    "donated",
                    "fragments",
                    "1.05",
                    "123",
                ],
            ),
            (
                "bench",
                &[
                    "--icount",
                    "overlayfs",
                    "bench.rst",
                    "--only",
                    "--base-kernel",
                    "--json",
                    "--svg",
                    "Exit status",
                ],
            ),
            (
                "test",
                &[
                    "\"N passed, N failed\"",
                    "--seed",
                    "\"inject\"",
                    "\"stress\"",
                    "Exit status",
                ],
            ),
            (
                "build",
                &["LINUX_TARBALL", "debug", "ccache", "--all-users", "sparse"],
            ),
            (
                "exec",
                &[
                    "$OUT",
                    "--disk",
                    "/dev/vdb",
                    "shift=0,sleep=off",
                    "erms",
                    "KVM",
                    "sysrq",
                    "KASAN",
                    "124",
                    "root",
                ],
            ),
            (
                "xfstests",
                &[
                    "README",
                    "xfs-rt",
                    "--against",
                    "--test-timeout",
                    "junit.xml",
                    ".out.bad",
                    "-E",
                    "Exit status",
                ],
            ),
            ("shell", &["Ctrl-]", "Exit status"]),
            ("export", &["git am", "0000-cover-letter.patch"]),
            (
                "cocci",
                &[
                    "// Files:",
                    "// Options:",
                    "by_hand",
                    "--onto",
                    "Exit status",
                ],
            ),
            ("refresh", &["--into", "not committed"]),
        ];
        for (name, words) in wanted {
            let command = cli.find_subcommand_mut(name).expect("a command");
            let help = command.render_long_help().to_string();
            for word in words {
                assert!(help.contains(word), "{name} does not say {word}:\n{help}");
            }
        }
    }

    /// What --only takes is said, and taken.
    #[test]
    fn measures_are_named() {
        let mut cli = Cli::command();
        let command = cli.find_subcommand_mut("bench").expect("a command");
        let help = command.render_long_help().to_string();
        for name in crate::bench::names() {
            assert!(help.contains(&name), "{name}");
            assert!(Cli::try_parse_from(["lab", "bench", "--only", &name]).is_ok());
        }
    }

    /// Counting instructions needs no more arguments than that.
    #[test]
    fn icount_brings_its_own_defaults() {
        let cli = Cli::parse_from(["lab", "exec", "--icount", "s"]);
        let Command::Exec(exec) = cli.command else {
            panic!("not exec");
        };
        let machine = exec.machine.machine(exec.timeout).unwrap();
        assert_eq!((machine.cpus, machine.numa), (1, 1));
    }
}
