// SPDX-License-Identifier: GPL-2.0

//! What `lab bench` measures, as data: the measures, what each needs, the rows of
//! the table with their targets, and whether a target is met.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kernel::Variant;

/// The machine that a measure needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One that counts instructions.
    Counting,
    /// One with memory for a hundred private copies.
    Large,
    /// One with a GiB of memory.
    Small,
}

/// Something that guest/bench.py can do.
#[derive(Debug)]
pub struct Measure {
    /// Its name there.
    pub name: &'static str,
    /// Where.
    pub kind: Kind,
    /// Whether it tells something of the kernel without the series.
    pub on_base: bool,
}

const fn measure(name: &'static str, kind: Kind, on_base: bool) -> Measure {
    Measure {
        name,
        kind,
        on_base,
    }
}

/// All of them, in the order in which they are run.
pub const MEASURES: [Measure; 13] = [
    measure("clones", Kind::Large, true),
    measure("overlay", Kind::Large, false),
    measure("erofs", Kind::Large, false),
    measure("copies", Kind::Large, false),
    measure("read", Kind::Counting, true),
    measure("fault", Kind::Counting, true),
    measure("warm", Kind::Counting, true),
    measure("write", Kind::Counting, true),
    measure("reclaim", Kind::Counting, true),
    measure("inode", Kind::Counting, true),
    measure("memory", Kind::Large, false),
    measure("many", Kind::Small, false),
    measure("images", Kind::Large, true),
];

/// In what a value is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Instructions of the processor, the kernel's and the caller's.
    Instructions,
    /// Bytes.
    Bytes,
}

/// What a value is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Against {
    /// Nothing.
    Nothing,
    /// A metric of the kernel without the series; what it is, if not the same.
    Base(&'static str, &'static str),
    /// Another metric of the kernel with the series; what it is.
    Own(&'static str, &'static str),
    /// So much.
    Bytes(u64),
}

/// What has to be so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// The ratio is at most this.
    AtMost(f64),
    /// The ratio is less than this.
    Below(f64),
    /// The value itself is nothing.
    Nothing,
}

impl Target {
    /// As it is shown.
    pub fn text(&self) -> String {
        match self {
            Target::AtMost(most) => format!("<= {most}"),
            Target::Below(limit) => format!("< {limit}"),
            Target::Nothing => "0".into(),
        }
    }

    /// Whether it is met; nothing when that cannot be told.
    fn met(&self, value: Option<f64>, ratio: Option<f64>) -> Option<bool> {
        // NaN and negative numbers come of measurements gone wrong.
        match self {
            Target::AtMost(most) => Some((0.0..=*most).contains(&ratio?)),
            Target::Below(limit) => Some((0.0..*limit).contains(&ratio?)),
            Target::Nothing => Some(value? == 0.0),
        }
    }
}

/// A line of the table.
#[derive(Debug)]
pub struct Row {
    /// As the list of targets numbers them.
    pub number: u32,
    /// Which measure it is of.
    pub measure: &'static str,
    /// What it says.
    pub what: &'static str,
    /// The guest's name of the value.
    pub metric: &'static str,
    /// The value's unit.
    pub unit: Unit,
    /// What it is compared with.
    pub against: Against,
    /// None: it is only to be known.
    pub target: Option<Target>,
}

const fn row(
    number: u32,
    measure: &'static str,
    what: &'static str,
    metric: &'static str,
    unit: Unit,
    against: Against,
    target: Option<Target>,
) -> Row {
    Row {
        number,
        measure,
        what,
        metric,
        unit,
        against,
        target,
    }
}

const fn at_most(ratio: f64) -> Option<Target> {
    Some(Target::AtMost(ratio))
}

const ONE_CACHE: Against = Against::Own("clones.one.cache", "one copy");
const ONE_ALL: Against = Against::Own("clones.one.all", "one copy");
const ONE_READ: Against = Against::Own("clones.one.bytes", "one copy");

/// A value and the same of the kernel without the series.
const fn base(metric: &'static str) -> Against {
    Against::Base(metric, "base")
}

/// The table.  One copy is measured by each measure for itself, in the same guest.
#[rustfmt::skip]
pub const ROWS: [Row; 66] = {
    use Unit::{Bytes, Instructions};
    const fn own(metric: &'static str) -> Against {
        Against::Own(metric, "one copy")
    }
    const PLAIN: &str = "ordinary, base";
    const SINGLE: &str = "single, base";
    [
        row(1, "clones", "page cache, 2 clones", "clones.2.cache", Bytes, ONE_CACHE, at_most(1.01)),
        row(1, "clones", "page cache, 16 clones", "clones.16.cache", Bytes, ONE_CACHE, at_most(1.01)),
        row(1, "clones", "page cache, 100 clones", "clones.100.cache", Bytes, ONE_CACHE, at_most(1.01)),
        row(1, "clones", "with metadata, 2 clones", "clones.2.all", Bytes, ONE_ALL, at_most(1.02)),
        row(1, "clones", "with metadata, 16 clones", "clones.16.all", Bytes, ONE_ALL, at_most(1.02)),
        row(1, "clones", "with metadata, 100 clones", "clones.100.all", Bytes, ONE_ALL, at_most(1.02)),
        row(1, "overlay", "overlayfs lower, page cache, 2 views", "overlay.2.cache", Bytes, own("overlay.one.cache"), None),
        row(1, "overlay", "overlayfs lower, page cache, 16 views", "overlay.16.cache", Bytes, own("overlay.one.cache"), None),
        row(1, "overlay", "overlayfs lower, page cache, 100 views", "overlay.100.cache", Bytes, own("overlay.one.cache"), None),
        row(1, "overlay", "overlayfs lower, with metadata, 100 views", "overlay.100.all", Bytes, own("overlay.one.all"), None),
        row(1, "erofs", "EROFS inode_share, page cache, 2 images", "erofs.2.cache", Bytes, own("erofs.one.cache"), None),
        row(1, "erofs", "EROFS inode_share, page cache, 16 images", "erofs.16.cache", Bytes, own("erofs.one.cache"), None),
        row(1, "erofs", "EROFS inode_share, page cache, 100 images", "erofs.100.cache", Bytes, own("erofs.one.cache"), None),
        row(1, "erofs", "EROFS inode_share, with metadata, 100 images", "erofs.100.all", Bytes, own("erofs.one.all"), None),
        row(1, "copies", "plain copies, page cache, 2", "copies.2.cache", Bytes, own("copies.one.cache"), None),
        row(1, "copies", "plain copies, page cache, 16", "copies.16.cache", Bytes, own("copies.one.cache"), None),
        row(1, "copies", "plain copies, with metadata, 16", "copies.16.all", Bytes, own("copies.one.all"), None),

        row(2, "clones", "read from the device, 2 clones", "clones.2.bytes", Bytes, ONE_READ, at_most(1.01)),
        row(2, "clones", "read from the device, 16 clones", "clones.16.bytes", Bytes, ONE_READ, at_most(1.01)),
        row(2, "clones", "read from the device, 100 clones", "clones.100.bytes", Bytes, ONE_READ, at_most(1.01)),
        row(2, "overlay", "overlayfs lower, read, 100 views", "overlay.100.bytes", Bytes, own("overlay.one.bytes"), None),
        row(2, "erofs", "EROFS inode_share, read, 100 images", "erofs.100.bytes", Bytes, own("erofs.one.bytes"), None),
        row(2, "copies", "plain copies, read, 16", "copies.16.bytes", Bytes, own("copies.one.bytes"), None),

        row(3, "read", "read, ordinary file, 1 byte", "read.plain.1", Instructions, base("read.plain.1"), at_most(1.002)),
        row(3, "read", "read, ordinary file, 4 KiB", "read.plain.4k", Instructions, base("read.plain.4k"), at_most(1.002)),
        row(3, "read", "read, ordinary file, 1 MiB", "read.plain.1m", Instructions, base("read.plain.1m"), at_most(1.002)),
        row(3, "read", "for comparison: getppid", "read.getppid", Instructions, base("read.getppid"), None),

        row(4, "read", "read, aliased file, 1 byte", "read.alias.1", Instructions, Against::Base("read.plain.1", PLAIN), at_most(1.02)),
        row(4, "read", "read, aliased file, 4 KiB", "read.alias.4k", Instructions, Against::Base("read.plain.4k", PLAIN), at_most(1.02)),
        row(4, "read", "read, aliased file, 1 MiB", "read.alias.1m", Instructions, Against::Base("read.plain.1m", PLAIN), at_most(1.02)),
        row(4, "read", "  against folios of one page", "read.alias.1m", Instructions, Against::Base("read.single.1m", SINGLE), None),

        row(5, "fault", "read fault, aliased, one page", "fault.alias.one", Instructions, Against::Base("fault.plain.one", PLAIN), at_most(1.03)),
        row(5, "fault", "  against folios of one page", "fault.alias.one", Instructions, Against::Base("fault.single.one", SINGLE), None),
        row(5, "fault", "fault-around, aliased, per page", "fault.alias.around", Instructions, Against::Base("fault.plain.around", PLAIN), at_most(1.03)),
        row(5, "fault", "  against folios of one page", "fault.alias.around", Instructions, Against::Base("fault.single.around", SINGLE), None),
        row(5, "fault", "read fault, ordinary, one page", "fault.plain.one", Instructions, base("fault.plain.one"), None),
        row(5, "fault", "fault-around, ordinary, per page", "fault.plain.around", Instructions, base("fault.plain.around"), None),

        row(6, "warm", "first read of a clone, per page, 4 KiB reads", "warm.first.4k", Instructions, Against::Base("warm.again.4k", "reread, base"), at_most(1.5)),
        row(6, "warm", "  read from the device", "warm.bytes.4k", Bytes, Against::Nothing, Some(Target::Nothing)),
        row(6, "warm", "first read of a clone, per page, 128 KiB reads", "warm.first.128k", Instructions, Against::Base("warm.again.128k", "reread, base"), None),
        row(6, "warm", "  read from the device", "warm.bytes.128k", Bytes, Against::Nothing, Some(Target::Nothing)),
        row(6, "warm", "reread, ordinary, per page, 4 KiB reads", "warm.again.4k", Instructions, base("warm.again.4k"), None),

        row(7, "write", "first 4 KiB write into a page, clone not read", "write.page", Instructions, base("write.page"), at_most(1.05)),
        row(7, "write", "first 4 KiB write into a page, clone read before", "write.page_read", Instructions, base("write.page_read"), None),
        row(7, "write", "  the same, against a clone not read", "write.page_read", Instructions, Against::Base("write.page", "not read, base"), None),
        row(7, "write", "first 128 KiB write, clone not read", "write.large", Instructions, base("write.large"), None),
        row(7, "write", "first 128 KiB write, clone read before", "write.large_read", Instructions, base("write.large_read"), None),
        row(7, "write", "  the same, against a clone not read", "write.large_read", Instructions, Against::Base("write.large", "not read, base"), None),
        row(7, "write", "100 bytes into a page, source cached", "write.part", Instructions, base("write.part"), Some(Target::Below(1.0))),
        row(7, "write", "  read from the device", "write.part.bytes", Bytes, Against::Nothing, Some(Target::Nothing)),
        row(7, "write", "100 bytes into a page, clone read before", "write.part_read", Instructions, base("write.part_read"), None),
        row(7, "write", "  read from the device", "write.part_read.bytes", Bytes, Against::Nothing, Some(Target::Nothing)),

        row(8, "reclaim", "reclaim of what 16 files have of a page, single pages", "reclaim.pages", Instructions, base("reclaim.pages"), at_most(1.0)),
        row(8, "reclaim", "reclaim of what 16 files have of a page, read ahead", "reclaim.ahead", Instructions, base("reclaim.ahead"), at_most(1.0)),

        row(9, "inode", "create and evict an inode", "inode.both", Instructions, base("inode.both"), at_most(1.005)),
        row(9, "inode", "  create", "inode.create", Instructions, base("inode.create"), None),
        row(9, "inode", "  evict", "inode.evict", Instructions, base("inode.evict"), None),
        row(9, "inode", "open and close", "inode.open", Instructions, base("inode.open"), at_most(1.005)),
        row(9, "inode", "stat", "inode.stat", Instructions, base("inode.stat"), at_most(1.005)),

        row(10, "memory", "kernel memory per clone of 1 GiB in 16 extents", "memory.clone", Bytes, Against::Bytes(64 << 10), at_most(1.0)),
        row(10, "memory", "  of it nodes of i_pages", "memory.nodes", Bytes, Against::Nothing, None),

        row(11, "many", "1000 clones of 64 MiB in 1 GiB, read once", "many.once", Bytes, Against::Bytes(64 << 20), None),
        row(11, "many", "1000 clones of 64 MiB in 1 GiB, read twice", "many.twice", Bytes, Against::Bytes(64 << 20), at_most(1.05)),

        row(12, "images", "8 disk images by loop devices, page cache", "images.cache", Bytes, Against::Own("images.unique", "unique blocks"), at_most(1.02)),
        row(12, "images", "8 disk images by loop devices, with metadata", "images.all", Bytes, Against::Own("images.unique", "unique blocks"), None),
        row(12, "images", "8 disk images by loop devices, read", "images.bytes", Bytes, Against::Own("images.unique", "unique blocks"), None),
    ]
};

/// Why a measure has told nothing, or not all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The guest cannot do it.
    Absent(String),
    /// It went wrong.
    Failed(String),
}

impl Trouble {
    /// What is to be said.
    pub fn reason(&self) -> &str {
        match self {
            Trouble::Absent(why) | Trouble::Failed(why) => why,
        }
    }
}

/// What the guests told of one kernel.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Metrics and their values.
    pub values: BTreeMap<String, f64>,
    /// Measures and what is wrong with them.
    pub troubles: BTreeMap<String, Trouble>,
}

impl Measured {
    /// Takes a line of guest/bench.py; gives the measure that it says is done.
    pub fn take(&mut self, line: &str) -> Option<String> {
        let told: Value = serde_json::from_str(line).ok()?;
        if let (Some(metric), Some(value)) = (told["metric"].as_str(), told["value"].as_f64()) {
            self.put(metric, value);
            return None;
        }
        let measure = told["measure"].as_str()?;
        let why = |key: &str| told[key].as_str().map(String::from);
        if let Some(why) = why("absent") {
            self.troubles.insert(measure.into(), Trouble::Absent(why));
        } else if let Some(why) = why("error") {
            self.fail(measure, why);
        } else if told["done"].as_bool() == Some(true) {
            return Some(measure.into());
        }
        None
    }

    /// A measure went wrong; what is said first stays.
    pub fn fail(&mut self, measure: &str, why: impl Into<String>) {
        self.troubles
            .entry(measure.into())
            .or_insert(Trouble::Failed(why.into()));
    }

    /// Of several boots the fewest instructions count, because boots fall into two
    /// groups; but the most bytes.
    fn put(&mut self, metric: &str, value: f64) {
        let bytes = ROWS
            .iter()
            .any(|row| row.metric == metric && row.unit == Unit::Bytes);
        self.values
            .entry(metric.into())
            .and_modify(|known| {
                *known = match bytes {
                    true => known.max(value),
                    false => known.min(value),
                }
            })
            .or_insert(value);
    }

    fn get(&self, metric: &str) -> Option<f64> {
        self.values.get(metric).copied()
    }
}

/// What both kernels came to.
#[derive(Debug, Default)]
pub struct Results {
    /// Without the series.
    pub base: Measured,
    /// With it.
    pub patched: Measured,
}

impl Results {
    /// Of one kernel.
    pub fn of(&mut self, variant: Variant) -> &mut Measured {
        match variant {
            Variant::Base => &mut self.base,
            Variant::Patched | Variant::Debug => &mut self.patched,
        }
    }
}

/// How a row came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The target is met.
    Met,
    /// It is not.
    Missed,
    /// It could not be told, and why.
    NotMeasured(String),
    /// There is no target.
    Known,
}

/// A row with its numbers.
#[derive(Debug)]
pub struct Judged {
    /// The row.
    pub row: &'static Row,
    /// The kernel without the series.
    pub base: Option<f64>,
    /// The kernel with it.
    pub patched: Option<f64>,
    /// What the value is compared with.
    pub reference: Option<f64>,
    /// The value in parts of that.
    pub ratio: Option<f64>,
    /// How it came out.
    pub verdict: Verdict,
}

impl Row {
    /// Whether the user's name or number means this row.
    pub fn is_called(&self, name: &str) -> bool {
        self.measure == name || self.number.to_string() == name
    }

    /// Puts the numbers into it.
    pub fn judge(&'static self, results: &Results) -> Judged {
        let patched = results.patched.get(self.metric);
        let reference = match self.against {
            Against::Nothing => None,
            Against::Base(metric, _) => results.base.get(metric),
            Against::Own(metric, _) => results.patched.get(metric),
            Against::Bytes(bytes) => Some(bytes as f64),
        };
        let ratio = match (patched, reference) {
            (Some(value), Some(reference)) if reference > 0.0 => Some(value / reference),
            _ => None,
        };
        let verdict = match self.target.map(|target| target.met(patched, ratio)) {
            Some(Some(true)) => Verdict::Met,
            Some(Some(false)) => Verdict::Missed,
            Some(None) => Verdict::NotMeasured(self.reason(results)),
            None if patched.is_none() => Verdict::NotMeasured(self.reason(results)),
            None => Verdict::Known,
        };
        Judged {
            row: self,
            base: results.base.get(self.metric),
            patched,
            reference,
            ratio,
            verdict,
        }
    }

    fn reason(&self, results: &Results) -> String {
        [&results.patched, &results.base]
            .iter()
            .find_map(|measured| measured.troubles.get(self.measure))
            .map_or("not told by the guest", Trouble::reason)
            .to_string()
    }
}

impl Judged {
    /// Whether the whole of the measurement is no success because of this row.
    pub fn is_bad(&self) -> bool {
        match self.verdict {
            Verdict::Missed => true,
            // A target that could not be looked at is not met.
            Verdict::NotMeasured(_) => self.row.target.is_some(),
            Verdict::Met | Verdict::Known => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn results(base: &[(&str, f64)], patched: &[(&str, f64)]) -> Results {
        let fill = |of: &[(&str, f64)]| Measured {
            values: of.iter().map(|(k, v)| (k.to_string(), *v)).collect(),
            ..Measured::default()
        };
        Results {
            base: fill(base),
            patched: fill(patched),
        }
    }

    fn row_of(metric: &str) -> &'static Row {
        ROWS.iter().find(|row| row.metric == metric).unwrap()
    }

    /// Each of the twelve has a target, each row a measure, each measure a row.
    #[test]
    fn table_is_whole() {
        let numbers: BTreeSet<u32> = ROWS
            .iter()
            .filter(|row| row.target.is_some())
            .map(|row| row.number)
            .collect();
        assert_eq!(numbers, (1..=12).collect());
        for row in &ROWS {
            let measure = MEASURES.iter().find(|m| m.name == row.measure);
            let measure = measure.expect(row.measure);
            assert!(row.metric.starts_with(&format!("{}.", row.measure)));
            if matches!(row.against, Against::Base(..)) {
                assert!(measure.on_base, "{}", row.what);
            }
            // Instructions are counted where they can be.
            let counting = measure.kind == Kind::Counting;
            assert!(counting || row.unit == Unit::Bytes, "{}", row.what);
        }
        for measure in &MEASURES {
            assert!(ROWS.iter().any(|row| row.measure == measure.name));
        }
    }

    /// Targets are where they are said to be, and nonsense meets none.
    #[test]
    fn targets_are_kept() {
        let met = |value: f64| {
            let results = results(&[("read.plain.1", 1000.0)], &[("read.plain.1", value)]);
            row_of("read.plain.1").judge(&results).verdict
        };
        assert_eq!(met(1002.0), Verdict::Met);
        assert_eq!(met(1002.1), Verdict::Missed);
        assert_eq!(met(-1.0), Verdict::Missed);
        assert_eq!(met(f64::NAN), Verdict::Missed);
        assert_eq!(Target::Below(1.0).met(None, Some(1.0)), Some(false));
        assert_eq!(Target::Nothing.met(Some(0.0), None), Some(true));
        assert_eq!(Target::Nothing.met(Some(4096.0), None), Some(false));
    }

    /// Each kind of comparison takes its number from where it says.
    #[test]
    fn references_are_found() {
        let results = results(
            &[("read.plain.1", 1000.0), ("clones.one.cache", 9.0)],
            &[
                ("read.plain.1", 7.0),
                ("read.alias.1", 1010.0),
                ("clones.one.cache", 100.0),
                ("clones.2.cache", 101.0),
                ("memory.clone", 65536.0),
            ],
        );
        let ratio = |metric: &str| row_of(metric).judge(&results).ratio;
        assert_eq!(ratio("read.alias.1"), Some(1.01));
        assert_eq!(ratio("clones.2.cache"), Some(1.01));
        assert_eq!(ratio("memory.clone"), Some(1.0));
        assert_eq!(ratio("clones.16.cache"), None);
    }

    /// What was not measured meets no target, and the guest's reason is told.
    #[test]
    fn absence_is_no_success() {
        let mut results = Results::default();
        let judged = row_of("read.plain.1").judge(&results);
        assert!(judged.is_bad());
        results.patched.fail("read", "it broke");
        results.patched.fail("read", "later");
        let judged = row_of("read.plain.1").judge(&results);
        assert_eq!(judged.verdict, Verdict::NotMeasured("it broke".into()));
        // An alternative that the guest does not have is nobody's fault.
        results
            .patched
            .take(r#"{"measure": "erofs", "absent": "no EROFS"}"#);
        let judged = row_of("erofs.2.cache").judge(&results);
        assert_eq!(judged.verdict, Verdict::NotMeasured("no EROFS".into()));
        assert!(!judged.is_bad());
        // Nothing to divide by is not nothing.
        let zero = super::tests::results(&[("read.plain.1", 0.0)], &[("read.plain.1", 1.0)]);
        assert!(row_of("read.plain.1").judge(&zero).is_bad());
    }

    /// The guest's lines are read; of several boots the right one counts.
    #[test]
    fn lines_are_read() {
        let mut measured = Measured::default();
        for line in [
            r#"{"metric": "read.plain.1", "value": 11.5}"#,
            r#"{"metric": "read.plain.1", "value": 10}"#,
            r#"{"metric": "read.plain.1", "value": 12}"#,
            r#"{"metric": "warm.bytes.4k", "value": 0}"#,
            r#"{"metric": "warm.bytes.4k", "value": 4096}"#,
            r#"{"metric": "warm.bytes.4k", "value": 0}"#,
            "Traceback (most recent call last):",
        ] {
            assert_eq!(measured.take(line), None);
        }
        assert_eq!(measured.get("read.plain.1"), Some(10.0));
        assert_eq!(measured.get("warm.bytes.4k"), Some(4096.0));
        let done = measured.take(r#"{"measure": "read", "done": true}"#);
        assert_eq!(done.as_deref(), Some("read"));
    }
}
