// SPDX-License-Identifier: GPL-2.0

//! The guest's machine: QEMU's command line, and what to do with a running one.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use nix::fcntl::{fcntl, FcntlArg, FdFlag};

use crate::chroot::Inside;
use crate::console::Watch;
use crate::guest::{Event, Job, LAST_WORDS, PORTS};
use crate::lab::Lab;
use crate::size::Size;
use crate::ui;

/// Serial consoles of past guests that are kept.
const LOGS_KEPT: usize = 20;
/// How long the guest's last words and bytes may take once the job has ended.
const DRAIN: Duration = Duration::from_secs(20);

/// How long a guest may say nothing before its job begins. QEMU's emulation now and
/// then, once in hundreds of boots, loses the end of a timer interrupt, and with it
/// all others; a debug kernel on a busy machine is silent for a quarter of this.
const STILL: Duration = Duration::from_secs(120);

/// How many boots a guest gets that stands still.
const BOOTS: u32 = 3;

/// What the machine is made of.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Memory of all nodes together.
    pub mem: Size,
    /// Processors of all nodes together.
    pub cpus: u32,
    /// NUMA nodes, one socket each.
    pub numa: u32,
    /// The size of each of the two pmem devices; none when zero.
    pub pmem: Size,
    /// Empty disks, /dev/vdb and on.
    pub disks: Vec<Size>,
    /// More of the kernel's command line.
    pub append: String,
    /// Time by counted instructions.
    pub icount: bool,
    /// For boot and job together.
    pub timeout: Duration,
}

impl Machine {
    /// NUMA nodes for so many processors, if nobody says how many.
    pub fn nodes(cpus: u32) -> u32 {
        if cpus % 2 == 0 {
            2
        } else {
            1
        }
    }

    /// Refuses what QEMU or the kernel would choke on.
    pub fn check(&self) -> Result<()> {
        if self.cpus == 0 || self.cpus > 8 {
            bail!("--cpus {}: from 1 to 8", self.cpus);
        }
        if self.numa == 0 || self.numa > 2 {
            bail!("--numa {}: 1 or 2", self.numa);
        }
        if self.cpus % self.numa != 0 {
            bail!(
                "--cpus {} cannot be spread over --numa {} nodes evenly",
                self.cpus,
                self.numa
            );
        }
        if self.icount && self.cpus != 1 {
            bail!("--icount runs one processor, not --cpus {}", self.cpus);
        }
        if self.mem.0 < 256 << 20 {
            bail!("--mem {}: at least 256M", self.mem);
        }
        if self.mem.0 % (u64::from(self.numa) << 20) != 0 {
            bail!("--mem {}: a whole number of MiB for each node", self.mem);
        }
        if self.pmem.0 != 0 && (self.pmem.0 < 64 << 20 || self.pmem.0 % (2 << 20) != 0) {
            bail!("--pmem {}: 0, or at least 64M and even MiB", self.pmem);
        }
        if self.disks.len() > 16 {
            bail!("--disk: at most 16");
        }
        if self.disks.iter().any(|d| d.0 < 1 << 20) {
            bail!("--disk: at least 1M each");
        }
        Ok(())
    }

    /// How many pmem devices it has.
    pub fn pmem_devices(&self) -> u32 {
        if self.pmem.0 == 0 {
            0
        } else {
            2
        }
    }

    fn memory_arguments(&self) -> Vec<String> {
        let mut line = vec!["-m".to_string()];
        let total = self.mem.0 >> 20;
        match self.pmem_devices() {
            0 => line.push(format!("{total}M")),
            n => line.push(format!(
                "{total}M,slots={n},maxmem={}M",
                total + u64::from(n) * (self.pmem.0 >> 20) + 1024
            )),
        }
        for node in 0..self.numa {
            let size = self.mem.0 / u64::from(self.numa);
            line.extend([
                "-object".into(),
                format!("memory-backend-ram,id=node{node},size={size}"),
                "-numa".into(),
                format!("node,nodeid={node},memdev=node{node}"),
                "-numa".into(),
                format!("cpu,node-id={node},socket-id={node}"),
            ]);
        }
        for number in 0..self.pmem_devices() {
            line.extend([
                "-object".into(),
                format!("memory-backend-ram,id=pmem{number},size={}", self.pmem.0),
                "-device".into(),
                format!(
                    "nvdimm,id=nvdimm{number},memdev=pmem{number},node={}",
                    number % self.numa
                ),
            ]);
        }
        line
    }

    fn processor_arguments(&self, kvm: bool) -> Vec<String> {
        let mut line: Vec<String> = vec![];
        // Emulated, "rep movsb" goes byte by byte: without these flags the
        // kernel copies eight bytes at a time.
        //
        // While the kernel identifies the boot processor, it has no features. KASAN asks
        // for that of page tables of five levels to tell where its shadow is, and calls
        // good addresses wild in an interrupt that comes then.
        let emulated = "max,-la57,-erms,-fsrm,-fsrs,-fzrm,-fsrc";
        if self.icount {
            line.extend(["-accel", "tcg,thread=single", "-cpu", emulated].map(String::from));
            line.extend(["-icount", "shift=0,sleep=off"].map(String::from));
        } else if kvm {
            line.extend(["-accel", "kvm", "-cpu", "host"].map(String::from));
        } else {
            line.extend(["-accel", "tcg,thread=multi", "-cpu", emulated].map(String::from));
        }
        let cores = self.cpus / self.numa;
        line.extend([
            "-smp".into(),
            format!(
                "cpus={},sockets={},cores={cores},threads=1",
                self.cpus, self.numa
            ),
        ]);
        line
    }

    fn kernel_command_line(&self) -> String {
        let mut line = String::from(
            "root=/dev/vda rootfstype=ext4 rw init=/sbin/lab-init console=ttyS0,115200 panic=-1",
        );
        // On a busy host an emulated timer can be too late for the kernel's check of
        // it at boot, which panics.
        line.push_str(" no_timer_check");
        // In what is thrown away nobody need zero inode tables in the background.
        line.push_str(" rootflags=noinit_itable");
        // What the console does not show, the host does not see: neither "quiet"
        // nor a script's "dmesg -n 1" may hide a report.
        line.push_str(" ignore_loglevel");
        if self.icount {
            // Where a program lies in memory changes what it costs by a per cent
            // or two.
            line.push_str(" norandmaps");
        }
        if !self.append.contains("kunit.enable") {
            // Unit tests are a job of their own, not part of every boot.
            line.push_str(" kunit.enable=0");
        }
        if !self.append.is_empty() {
            line.push(' ');
            line.push_str(&self.append);
        }
        line
    }
}

/// One boot of a machine with something to do.
pub struct Boot<'a> {
    /// Where things are.
    pub lab: &'a Lab,
    /// The kernel's bzImage.
    pub kernel: &'a Path,
    /// The guest's root file system.
    pub image: &'a Path,
    /// The machine.
    pub machine: &'a Machine,
    /// What to run.
    pub job: Job,
    /// Files and folders of the host to be found in the guest's `/lab/in`, with
    /// the name that they have there.
    pub files: Vec<(PathBuf, String)>,
    /// A folder of the host that is too large to be copied there: the guest mounts
    /// it by the tag lab_share, and cannot write to it.
    pub share: Option<PathBuf>,
    /// The host's folder behind `$OUT`; thrown away if there is none.
    pub out: Option<PathBuf>,
    /// Takes the job's standard output.
    pub stdout: Box<dyn Write + Send>,
    /// Takes the job's standard error.
    pub stderr: Box<dyn Write + Send>,
    /// Carries standard input to the job's terminal.
    pub interactive: bool,
    /// Called once, when the job starts.
    pub on_start: Box<dyn FnMut() + 'a>,
    /// Called again and again while the guest lives; false ends it as if its time
    /// limit had passed.
    pub on_tick: Box<dyn FnMut() -> bool + 'a>,
}

/// How a boot ended.
#[derive(Debug)]
pub enum Ending {
    /// The job ended by itself with this status.
    Ended(i32),
    /// The kernel reported a bug.
    Report {
        /// Its first telling line.
        headline: String,
        /// All of it.
        report: String,
    },
    /// The time limit passed.
    TimedOut {
        /// The guest's stacks.
        stacks: String,
    },
    /// The guest ended without a word, or could not run the job.
    Died {
        /// What is known.
        reason: String,
    },
}

/// The ending, and where the whole console can be read.
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The serial console's log.
    pub log: PathBuf,
}

enum Happened {
    Line(String),
    ConsoleClosed,
    Guest(Event),
    QemuSays(String),
}

/// The host's ends of the guest's channels.
struct Ends {
    console: UnixStream,
    monitor: UnixStream,
    ports: Vec<UnixStream>,
}

struct Qemu {
    child: Child,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // The end of `lab enter` ends its namespace, QEMU in it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether KVM really works: a device node alone proves nothing.
pub fn kvm_works() -> bool {
    const KVM_API_VERSION: i32 = 12;
    nix::ioctl_write_int_bad!(kvm_get_api_version, 0xae00);
    nix::ioctl_write_int_bad!(kvm_create_vm, 0xae01);
    if !can_virtualise(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()) {
        return false;
    }
    let Ok(kvm) = File::options().read(true).write(true).open("/dev/kvm") else {
        return false;
    };
    // SAFETY: both take a plain number; the descriptor is open.
    unsafe {
        if kvm_get_api_version(kvm.as_raw_fd(), 0) != Ok(KVM_API_VERSION) {
            return false;
        }
        match kvm_create_vm(kvm.as_raw_fd(), 0) {
            Ok(vm) => {
                drop(<OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(vm));
                true
            }
            Err(_) => false,
        }
    }
}

/// Whether the processor has Intel's or AMD's extension, by /proc/cpuinfo.
fn can_virtualise(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "flags")
        .is_some_and(|(_, flags)| flags.split_whitespace().any(|f| f == "vmx" || f == "svm"))
}

/// Lets the child inherit `fd`, and gives its number.
fn inherit(fd: &impl AsRawFd) -> Result<i32> {
    fcntl(fd.as_raw_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(fd.as_raw_fd())
}

fn copy_into(from: &Path, to: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(from).follow_links(true) {
        let entry = entry?;
        let target = match entry.path().strip_prefix(from) {
            Ok(rest) if !rest.as_os_str().is_empty() => to.join(rest),
            _ => to.into(),
        };
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

impl Boot<'_> {
    /// Boots, runs the job, ends the guest.
    pub fn run(mut self) -> Result<Outcome> {
        self.machine.check()?;
        let scratch = self.lab.scratch()?;
        let input = scratch.path().join("in");
        fs::create_dir(&input)?;
        fs::copy(std::env::current_exe()?, input.join("lab"))?;
        for (from, name) in &self.files {
            copy_into(from, &input.join(name))?;
        }
        self.job.pmem = self.machine.pmem_devices();
        if self.machine.icount {
            // Python's tables are another source of chance.
            let seed = ("PYTHONHASHSEED".to_string(), "0".to_string());
            self.job.environment.push(seed);
        }
        fs::write(
            input.join("job.json"),
            serde_json::to_vec_pretty(&self.job)?,
        )?;
        let out = match &self.out {
            Some(out) => out.clone(),
            None => scratch.path().join("out"),
        };
        fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
        let out = fs::canonicalize(&out)?;
        let mut boots = 1;
        loop {
            if let Some(outcome) = self.boot(&input, &out, boots == BOOTS)? {
                return Ok(outcome);
            }
            boots += 1;
            ui::say(format!(
                "nothing came from the guest for {} seconds while it booted: once more",
                STILL.as_secs()
            ));
        }
    }

    /// Boots once; none if the guest stood still before its job began. The last
    /// boot tells what it stands at instead.
    fn boot(&mut self, input: &Path, out: &Path, last: bool) -> Result<Option<Outcome>> {
        let log = new_log(self.lab)?;
        let (qemu, ends) = self.start(input, out)?;
        let ending = self.attend(qemu, ends, &log, last)?;
        Ok(ending.map(|ending| Outcome { ending, log }))
    }

    fn start(&self, input: &Path, out: &Path) -> Result<(Qemu, Ends)> {
        let machine = self.machine;
        let mut line: Vec<String> = ["qemu-system-x86_64", "-nodefaults", "-no-user-config"]
            .map(String::from)
            .into();
        line.extend(["-display", "none", "-no-reboot"].map(String::from));
        let nvdimm = if machine.pmem_devices() > 0 {
            "on"
        } else {
            "off"
        };
        line.extend(["-machine".into(), format!("q35,nvdimm={nvdimm}")]);
        line.extend(machine.processor_arguments(kvm_works()));
        line.extend(machine.memory_arguments());
        line.extend([
            "-kernel".into(),
            self.lab.in_root(self.kernel).display().to_string(),
            "-append".into(),
            machine.kernel_command_line(),
            "-device".into(),
            "virtio-rng-pci".into(),
        ]);

        let image = self.lab.in_root(self.image).display().to_string();
        line.extend([
            "-drive".into(),
            format!("file={image},format=raw,if=none,id=root,snapshot=on,cache=unsafe"),
            "-device".into(),
            "virtio-blk-pci,drive=root".into(),
        ]);
        let mut held: Vec<OwnedFd> = vec![];
        for (number, size) in machine.disks.iter().enumerate() {
            let file = self.lab.sparse_file(size.0)?;
            // The file has no name any more; its descriptor is its path.
            line.extend([
                "-drive".into(),
                format!(
                    "file=/proc/self/fd/{},format=raw,if=none,id=disk{number},\
                     cache=unsafe,discard=unmap",
                    inherit(&file)?
                ),
                "-device".into(),
                format!("virtio-blk-pci,drive=disk{number}"),
            ]);
            held.push(file);
        }

        let mut folders = vec![("in", "/work/in", ",readonly=on"), ("out", "/work/out", "")];
        if self.share.is_some() {
            folders.push(("share", "/work/share", ",readonly=on"));
        }
        for (id, path, options) in folders {
            line.extend([
                "-fsdev".into(),
                format!("local,id={id},path={path},security_model=none{options}"),
                "-device".into(),
                format!("virtio-9p-pci,fsdev={id},mount_tag=lab_{id}"),
            ]);
        }

        let mut channel = |id: &str| -> Result<UnixStream> {
            let (ours, theirs) = UnixStream::pair()?;
            line.extend([
                "-chardev".into(),
                format!("socket,id={id},fd={}", inherit(&theirs)?),
            ]);
            held.push(theirs.into());
            Ok(ours)
        };
        let console = channel("console")?;
        let monitor = channel("monitor")?;
        let mut ports = vec![];
        for (number, _) in PORTS.iter().enumerate() {
            ports.push(channel(&format!("port{number}"))?);
        }
        line.extend([
            "-serial".into(),
            "chardev:console".into(),
            "-mon".into(),
            "chardev=monitor,mode=control".into(),
            "-device".into(),
            "virtio-serial-pci".into(),
        ]);
        for (number, name) in PORTS.iter().enumerate() {
            line.extend([
                "-device".into(),
                format!("virtserialport,chardev=port{number},name={name}"),
            ]);
        }

        let mut inside = Inside::new(self.lab, line)
            .bind(input, "/work/in")
            .bind(out, "/work/out");
        if let Some(share) = &self.share {
            inside = inside.bind(share, "/work/share");
        }
        let mut command = inside.command()?;
        let child = command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .context("cannot start QEMU")?;
        Ok((
            Qemu { child },
            Ends {
                console,
                monitor,
                ports,
            },
        ))
    }

    fn attend(
        &mut self,
        mut qemu: Qemu,
        ends: Ends,
        log: &Path,
        last: bool,
    ) -> Result<Option<Ending>> {
        let (sender, receiver) = mpsc::channel();
        let mut file = File::create(log)?;
        let mut console = ends.console;
        read_lines(console.try_clone()?, sender.clone(), Happened::Line, true);
        let mut ports = ends.ports.into_iter();
        let (Some(control), Some(keys), Some(out), Some(err)) =
            (ports.next(), ports.next(), ports.next(), ports.next())
        else {
            bail!("a port for each purpose");
        };
        read_lines(
            control,
            sender.clone(),
            |line| match serde_json::from_str(&line) {
                Ok(event) => Happened::Guest(event),
                Err(_) => Happened::QemuSays(format!("not understood: {line}")),
            },
            false,
        );
        if let Some(stderr) = qemu.child.stderr.take() {
            read_lines(stderr, sender.clone(), Happened::QemuSays, false);
        }
        drop(sender);
        // Until the job begins nothing comes through these, and nobody reads the
        // keys: another boot can have them.
        let mut ports = Some((out, err));
        let mut keys = Some(keys);
        let (mut out_count, mut err_count) = Default::default();
        let mut heard = Instant::now();

        let deadline = Instant::now() + self.machine.timeout;
        let mut watch = Watch::default();
        let mut ended: Option<(i32, u64, u64, u64, Instant)> = None;
        let mut last_words = false;
        let mut closed = false;
        let mut complaints = String::new();
        let mut broken = None;
        loop {
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok(Happened::Line(line)) => {
                    writeln!(file, "{line}")?;
                    heard = Instant::now();
                    last_words |= line.contains(LAST_WORDS);
                    watch.line(&line, Instant::now());
                }
                Ok(Happened::ConsoleClosed) => closed = true,
                Ok(Happened::QemuSays(line)) => {
                    complaints.push_str(&line);
                    complaints.push('\n');
                }
                Ok(Happened::Guest(Event::Started)) => {
                    (self.on_start)();
                    if let Some((out, err)) = ports.take() {
                        out_count = carry(out, taken(&mut self.stdout));
                        err_count = carry(err, taken(&mut self.stderr));
                    }
                    // Dropping the keys' end would close the port.
                    if self.interactive {
                        if let Some(keys) = keys.take() {
                            carry_keys(keys);
                        }
                    }
                }
                Ok(Happened::Guest(Event::Broken { reason })) => broken = Some(reason),
                Ok(Happened::Guest(Event::Ended {
                    status,
                    out,
                    err,
                    tainted,
                })) => ended = Some((status, out, err, tainted, Instant::now())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    closed = true;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            let patient = (self.on_tick)();
            let now = Instant::now();
            if watch.begun() {
                if watch.complete(now) || closed {
                    return Ok(Some(Ending::Report {
                        headline: watch.headline(),
                        report: watch.report(),
                    }));
                }
                continue;
            }
            if let Some(reason) = broken.take() {
                return Ok(Some(Ending::Died { reason }));
            }
            if let Some((status, out, err, tainted, when)) = ended {
                let whole = last_words
                    && out_count.load(Ordering::Acquire) >= out
                    && err_count.load(Ordering::Acquire) >= err;
                if whole && tainted != 0 {
                    return Ok(Some(Ending::Report {
                        headline: format!(
                            "the kernel is tainted ({tainted:#x}): see {}",
                            log.display()
                        ),
                        report: fs::read_to_string(log).unwrap_or_default(),
                    }));
                }
                if whole {
                    return Ok(Some(Ending::Ended(status)));
                }
                if now - when > DRAIN {
                    return Ok(Some(Ending::Died {
                        reason: "the end of the job's output did not arrive".into(),
                    }));
                }
            }
            if closed && qemu.child.try_wait()?.is_some() {
                return Ok(Some(Ending::Died {
                    reason: format!("QEMU ended by itself\n{complaints}")
                        .trim_end()
                        .into(),
                }));
            }
            let still = ports.is_some() && now - heard > STILL;
            if still && !last {
                return Ok(None);
            }
            if now >= deadline || !patient || still {
                let stacks = ask_for_stacks(&mut console, ends.monitor, &receiver, &mut file)?;
                return Ok(Some(match still {
                    true => Ending::Died {
                        reason: format!(
                            "{stacks}\nnothing came from it for {} seconds while it booted",
                            STILL.as_secs()
                        ),
                    },
                    false => Ending::TimedOut { stacks },
                }));
            }
        }
    }
}

/// A fresh log file; the oldest ones go.
fn new_log(lab: &Lab) -> Result<PathBuf> {
    let dir = lab.cache.join("logs");
    let mut old: Vec<_> = fs::read_dir(&dir)?
        .flatten()
        .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
        .collect();
    old.sort();
    let surplus = old.len().saturating_sub(LOGS_KEPT - 1);
    for (_, path) in old.into_iter().take(surplus) {
        let _ = fs::remove_file(path);
    }
    let (_, path) = tempfile::Builder::new()
        .prefix("console-")
        .suffix(".log")
        .tempfile_in(&dir)?
        .keep()?;
    Ok(path)
}

fn read_lines(
    from: impl Read + Send + 'static,
    sender: mpsc::Sender<Happened>,
    wrap: impl Fn(String) -> Happened + Send + 'static,
    tell_end: bool,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { break };
            let text = String::from_utf8_lossy(&line);
            if sender
                .send(wrap(text.trim_end_matches('\r').to_string()))
                .is_err()
            {
                return;
            }
        }
        if tell_end {
            let _ = sender.send(Happened::ConsoleClosed);
        }
    });
}

/// The writer, and a sink in its place.
fn taken(writer: &mut Box<dyn Write + Send>) -> Box<dyn Write + Send> {
    std::mem::replace(writer, Box::new(std::io::sink()))
}

/// Copies a port's bytes into `to`; what cannot be written is counted all the
/// same, so that a closed pipe on the host does not stop the guest.
fn carry(mut from: UnixStream, mut to: Box<dyn Write + Send>) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let _ = to.write_all(&buffer[..n]);
            let _ = to.flush();
            counted.fetch_add(n as u64, Ordering::Release);
        }
    });
    count
}

/// Control and ], as telnet has it: ends a guest that does not answer.
const ESCAPE: u8 = 0x1d;

fn carry_keys(mut to: UnixStream) {
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(n @ 1..) = std::io::stdin().read(&mut buffer) {
            if buffer[..n].contains(&ESCAPE) {
                let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM);
                return;
            }
            if to.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
        // The end of input is the end of the session, as on any terminal.
        let _ = to.write_all(&[4]);
        std::thread::sleep(Duration::MAX);
    });
}

/// Asks the kernel, by a break on its serial line, for blocked tasks and then
/// for all stacks; gives what it printed.
fn ask_for_stacks(
    console: &mut UnixStream,
    mut monitor: UnixStream,
    receiver: &mpsc::Receiver<Happened>,
    log: &mut File,
) -> Result<String> {
    let mut said = String::new();
    writeln!(
        monitor,
        "{}",
        serde_json::json!({"execute": "qmp_capabilities"})
    )?;
    for key in [b'w', b't'] {
        let order = serde_json::json!({
            "execute": "chardev-send-break",
            "arguments": {"id": "console"},
        });
        writeln!(monitor, "{order}")?;
        std::thread::sleep(Duration::from_millis(500));
        console.write_all(&[key])?;
        let begin = Instant::now();
        // The list is whole when nothing more comes; a dead guest says nothing.
        while begin.elapsed() < Duration::from_secs(60) {
            match receiver.recv_timeout(Duration::from_secs(4)) {
                Ok(Happened::Line(line)) => {
                    writeln!(log, "{line}")?;
                    said.push_str(&line);
                    said.push('\n');
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
    if said.is_empty() {
        said.push_str("(the guest's kernel did not answer sysrq)\n");
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            mem: Size(3 << 30),
            cpus: 2,
            numa: 2,
            pmem: Size(1 << 30),
            disks: vec![],
            append: String::new(),
            icount: false,
            timeout: Duration::from_secs(1),
        }
    }

    /// What cannot be built is refused in words before QEMU sees it.
    #[test]
    fn impossible_machines_are_refused() {
        assert!(machine().check().is_ok());
        let refused: [fn(&mut Machine); 8] = [
            |m| m.cpus = 0,
            |m| m.cpus = 3,
            |m| m.cpus = 64,
            |m| m.numa = 3,
            |m| m.icount = true,
            |m| m.mem = Size(1 << 20),
            |m| m.pmem = Size(1 << 20),
            |m| m.disks = vec![Size(0)],
        ];
        for (number, spoil) in refused.iter().enumerate() {
            let mut machine = machine();
            spoil(&mut machine);
            assert!(machine.check().is_err(), "case {number} was taken");
        }
    }

    /// Each node has its own memory and its own socket.
    #[test]
    fn nodes_share_nothing() {
        let line = machine().memory_arguments().join(" ");
        assert!(line.contains("node,nodeid=1,memdev=node1"));
        assert!(line.contains("cpu,node-id=1,socket-id=1"));
        assert!(line.contains("nvdimm,id=nvdimm1,memdev=pmem1,node=1"));
        let line = machine().processor_arguments(false).join(" ");
        assert!(line.contains("cpus=2,sockets=2"));
    }

    /// Counted time means one thread and a processor that repeats.
    #[test]
    fn icount_is_deterministic() {
        let mut machine = machine();
        (machine.icount, machine.cpus, machine.numa) = (true, 1, 1);
        let line = machine.processor_arguments(true).join(" ");
        assert!(line.contains("-icount shift=0,sleep=off"));
        assert!(line.contains("-erms") && line.contains("-fsrm"));
        assert!(line.contains("-la57"));
        assert!(!line.contains("kvm"));
        assert!(machine.kernel_command_line().contains(" norandmaps "));
        machine.icount = false;
        assert!(!machine.kernel_command_line().contains("norandmaps"));
    }

    /// A device node is not asked without the processor's flag, whatever else is
    /// called like it.
    #[test]
    fn kvm_needs_the_flag() {
        assert!(can_virtualise("processor\t: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(can_virtualise("flags\t\t: svm\n"));
        for without in [
            "",
            "flags\t\t: fpu sse hypervisor svm_lock\n",
            "vmx flags\t: vnmi vmx\nflags\t\t: fpu\n",
            "model name\t: svm vmx\nflags\t\t: fpu\n",
        ] {
            assert!(!can_virtualise(without), "{without:?}");
        }
    }

    /// Nobody can make the console hide a report.
    #[test]
    fn console_shows_all() {
        let mut machine = machine();
        machine.append = "quiet".into();
        assert!(machine.kernel_command_line().contains(" ignore_loglevel "));
    }

    /// Unit tests run when they are asked for.
    #[test]
    fn kunit_is_off_unless_asked_for() {
        let mut machine = machine();
        assert!(machine.kernel_command_line().contains("kunit.enable=0"));
        machine.append = "kunit.enable=1".into();
        assert!(!machine.kernel_command_line().contains("kunit.enable=0"));
    }
}
