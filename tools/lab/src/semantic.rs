// SPDX-License-Identifier: GPL-2.0

//! A semantic patch, a file of `scripts/coccinelle/`: what its comments tell,
//! what its rules are, and Coccinelle's `spatch` run with it, file by file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use anyhow::{anyhow, bail, Context, Result};
use regex::bytes::Regex;

use crate::chroot::Inside;
use crate::lab::Lab;
use crate::ui::{self, Step};

/// The kernel's own .cocciconfig gives a file as many seconds.
const LIMIT: &str = "200";
/// Folders of a kernel tree whose C files are not the kernel's.
const NOT_KERNEL: [&str; 2] = ["tools/", "Documentation/"];
/// Comments with a meaning, which are not part of the rules.
const MARKS: [&str; 5] = [
    "Files:",
    "Options:",
    "Requires:",
    "Confidence:",
    "SPDX-License-Identifier:",
];

/// A semantic patch.
pub struct Semantic {
    /// Where it is, on the host.
    path: PathBuf,
    /// Words of which a file must have one to matter (`// Files:`).
    words: Regex,
    /// For spatch (`// Options:`, as scripts/coccicheck reads it).
    options: Vec<String>,
    /// The rules, without blank lines.
    pub rules: Vec<String>,
}

/// A part of a file that spatch does not understand, and so leaves as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unparsed {
    line: u64,
    text: String,
}

/// What spatch said about a file.
struct Said {
    path: String,
    unparsed: Vec<Unparsed>,
    warnings: Vec<String>,
}

/// Whether a semantic patch may look at a file of a kernel tree.
pub fn is_source(path: &str) -> bool {
    (path.ends_with(".c") || path.ends_with(".h"))
        && !NOT_KERNEL.iter().any(|folder| path.starts_with(folder))
}

impl Semantic {
    /// Reads the file `path`.
    pub fn read(path: &Path) -> Result<Semantic> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Semantic::parse(path, &text).with_context(|| path.display().to_string())
    }

    fn parse(path: &Path, text: &str) -> Result<Semantic> {
        let words: Vec<&str> = marked(text, "Files:").collect();
        let words = match words[..] {
            [""] | [] => bail!("no line '// Files: PATTERN' that tells which files matter"),
            [pattern] => pattern,
            _ => bail!("more than one line '// Files: PATTERN'"),
        };
        let words = Regex::new(&format!(r"(?-u)\b(?:{words})\b"))
            .with_context(|| format!("'// Files: {words}' is no pattern"))?;
        let mut options: Vec<String> = marked(text, "Options:")
            .flat_map(str::split_whitespace)
            .map(String::from)
            .collect();
        if virtual_names(text).any(|name| name == "patch") {
            options.extend(["-D".into(), "patch".into()]);
        }
        let rules = rules(text);
        if rules.is_empty() {
            bail!("it has no rules");
        }
        Ok(Semantic {
            path: path.into(),
            words,
            options,
            rules,
        })
    }

    /// Whether a file with this content can matter.
    pub fn matters(&self, content: &[u8]) -> bool {
        self.words.is_match(content)
    }

    /// The first line of the rules that `message` does not quote; it may indent
    /// them, and leave out what is between the rules.
    pub fn unquoted(&self, message: &str) -> Option<&str> {
        let mut lines = message.lines();
        self.rules
            .iter()
            .find(|rule| !lines.any(|line| quotes(line, rule)))
            .map(String::as_str)
    }

    /// Runs spatch on `files` of the tree `dir`, each by itself: what a rule
    /// finds in one file must not depend on which others are looked at.
    pub fn apply(&self, lab: &Lab, dir: &Path, files: &[String], what: &str) -> Result<()> {
        let mut step = Step::new(what, Some(files.len() as u64));
        let next = AtomicUsize::new(0);
        let jobs = std::thread::available_parallelism().map_or(2, |n| n.get());
        let (sender, receiver) = mpsc::channel();
        let mut said: Vec<Said> = vec![];
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // Nobody listens any more after the first error.
                        if sender.send(self.run(lab, dir, path)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for one in receiver {
                let one = one?;
                step.advance(&one.path);
                said.push(one);
            }
            Ok::<(), anyhow::Error>(())
        })?;
        step.done();
        said.sort_by(|a, b| a.path.cmp(&b.path));
        self.report(&said);
        Ok(())
    }

    /// One file, in place.
    fn run(&self, lab: &Lab, dir: &Path, path: &str) -> Result<Said> {
        let line = ["spatch", "--timeout", LIMIT];
        let mut inside = Inside::new(lab, line)
            .args(self.options.iter().cloned())
            .args(["--sp-file", &lab.in_root(&self.path).display().to_string()])
            // Without the first it says nothing of what it cannot parse.
            .args(["--verbose-parsing", "--no-show-diff", "--in-place", path]);
        let known = lab.is_inside() || dir.starts_with(&lab.cache) || dir.starts_with(&lab.top);
        inside = match known {
            true => inside.directory(lab.in_root(dir)),
            false => inside.bind(dir, "/src").directory("/src"),
        };
        let (status, out, err) = inside.outcome(&[])?;
        let text = String::from_utf8_lossy(&[out, err].concat()).into_owned();
        if status != Some(0) {
            return Err(anyhow!(
                "spatch with {} fails on {path}:\n{}",
                self.path.display(),
                end(&text)
            ));
        }
        Ok(Said {
            path: path.into(),
            unparsed: unparsed(&text),
            warnings: warnings(&text),
        })
    }

    /// Tells what was not looked at, and what spatch thinks of the rules.
    fn report(&self, said: &[Said]) {
        let mut warnings: Vec<&String> = said.iter().flat_map(|one| &one.warnings).collect();
        warnings.sort();
        warnings.dedup();
        for warning in warnings {
            ui::say(format!("{}: spatch: {warning}", self.path.display()));
        }
        let mut others = 0;
        for one in said {
            let (ours, rest): (Vec<_>, Vec<_>) = one
                .unparsed
                .iter()
                .partition(|part| self.matters(part.text.as_bytes()));
            others += rest.len();
            for part in ours {
                ui::say(format!(
                    "{}:{}: spatch cannot parse this, so leaves it as it is",
                    one.path, part.line
                ));
            }
        }
        if others > 0 {
            ui::say(format!(
                "{}: spatch cannot parse {others} other parts of these files, without any of \
                 the words of the line 'Files:'",
                self.path.display()
            ));
        }
    }
}

/// What stands behind `mark` in the comments that begin with it.
fn marked<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(comment)
        .filter_map(move |said| said.strip_prefix(mark))
        .map(str::trim)
}

/// A comment line's text.
fn comment(line: &str) -> Option<&str> {
    line.trim_start()
        .strip_prefix("//")
        .map(|said| said.trim_start_matches('/').trim())
}

/// The names that `virtual` declares.
fn virtual_names(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("virtual "))
        .flat_map(|names| names.split([',', ' ']))
}

/// The rules: behind the comment at the top and `virtual`, without blank lines
/// and the comments that have a meaning of their own.
fn rules(text: &str) -> Vec<String> {
    text.lines()
        .skip_while(|line| comment(line).is_some())
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !line.starts_with("virtual "))
        .filter(|line| {
            !comment(line).is_some_and(|said| MARKS.iter().any(|mark| said.starts_with(mark)))
        })
        .map(String::from)
        .collect()
}

/// Whether a line of a message is `rule`, possibly indented.
fn quotes(line: &str, rule: &str) -> bool {
    line.trim_end()
        .strip_suffix(rule)
        .is_some_and(|indent| indent.trim().is_empty())
}

/// The parts that spatch says it could not parse.
fn unparsed(text: &str) -> Vec<Unparsed> {
    let mut parts: Vec<Unparsed> = vec![];
    for line in text.lines() {
        let place = line
            .trim_start()
            .strip_prefix("= File \"")
            .and_then(|rest| rest.split_once("\", line "))
            .and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
        if let Some(line) = place {
            let text = String::new();
            parts.push(Unparsed { line, text });
            continue;
        }
        let bad = line
            .strip_prefix("bad: ")
            .or_else(|| line.strip_prefix("BAD:!!!!! "));
        if let (Some(bad), Some(part)) = (bad, parts.last_mut()) {
            part.text.push_str(bad);
            part.text.push('\n');
        }
    }
    parts
}

/// What spatch thinks of the semantic patch itself.
fn warnings(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("warning: "))
        .map(String::from)
        .collect()
}

/// The last lines of what a program said.
fn end(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A semantic patch that renames a function, as the kernel writes them.
    pub const TEXT: &str = "// SPDX-License-Identifier: GPL-2.0\n//\n// Old is new.\n//\n\
        // Files: \\w*old|older\n// Options: --no-includes --max-width 80\n\nvirtual patch\n\n\
        // Say why.\n@@\nexpression e;\n@@\n-old(e)\n+new(e,\n+\te)\n";

    fn parse(text: &str) -> Result<Semantic> {
        Semantic::parse(Path::new("x.cocci"), text)
    }

    /// Comments with a meaning are understood; the rest of the head is no rule.
    #[test]
    fn head_is_read() {
        let semantic = parse(TEXT).unwrap();
        let options = ["--no-includes", "--max-width", "80", "-D", "patch"];
        assert_eq!(semantic.options, options);
        assert_eq!(semantic.rules[0], "// Say why.");
        assert_eq!(semantic.rules.last().unwrap(), "+\te)");
        for (text, matters) in [
            ("x = my_old(1);", true),
            ("older", true),
            ("olden", false),
            ("\u{fc} gold_", false),
        ] {
            assert_eq!(semantic.matters(text.as_bytes()), matters, "{text}");
        }
        // A file without "virtual" is told of no mode.
        let plain = parse(&TEXT.replace("virtual patch\n", "")).unwrap();
        assert_eq!(plain.options, options[..3]);
        assert_eq!(plain.rules, semantic.rules);
    }

    /// What cannot be run is said, with what is missing.
    #[test]
    fn useless_ones_are_refused() {
        for (text, what) in [
            (TEXT.replace("// Files:", "// Some:"), "Files: PATTERN"),
            (TEXT.replace("older", "(older"), "no pattern"),
            (
                TEXT.replace("// Say why", "// Files: x\n// Say"),
                "more than",
            ),
            (TEXT[..TEXT.find("// Say").unwrap()].into(), "no rules"),
        ] {
            let error = format!("{:#}", parse(&text).err().unwrap());
            assert!(error.contains(what), "{error}");
        }
    }

    /// A message quotes the rules whole, in order, and may indent them.
    #[test]
    fn quotes_are_whole_and_in_order() {
        let semantic = parse(TEXT).unwrap();
        let quoted = "Because.\n\n  // Say why.\n\n  @@\n  expression e;\n  @@\n\n\
                      \x20 -old(e)\n  +new(e,\n  +\te)\n\nBy hand: the rest.";
        assert_eq!(semantic.unquoted(quoted), None);
        let changed = quoted.replace("+\te)", "+ e)");
        assert_eq!(semantic.unquoted(&changed), Some("+\te)"));
        let swapped = quoted.replace("  -old(e)\n  +new(e,\n", "  +new(e,\n  -old(e)\n");
        assert_eq!(semantic.unquoted(&swapped), Some("+new(e,"));
        // The message of another version of the rule is no quotation.
        let longer = quoted.replace("-old(e)", "x-old(e)");
        assert_eq!(semantic.unquoted(&longer), Some("-old(e)"));
    }

    /// What spatch leaves alone because it does not understand it is found.
    #[test]
    fn unparsed_parts_are_found() {
        let said = "HANDLING: a.h\nERROR-RECOV: found sync '}' at line 4\nparse error \n \
            = File \"include/a.h\", line 14, column 2, charpos = 46\n  around = '',\n  \
            whole content = \t}\nbadcount: 2\nbad: };\nBAD:!!!!! \told(\nwarning: line 3: hm\n";
        let parts = unparsed(said);
        assert_eq!(parts.len(), 1);
        assert_eq!(
            (parts[0].line, parts[0].text.as_str()),
            (14, "};\n\told(\n")
        );
        assert_eq!(warnings(said), ["line 3: hm"]);
        assert_eq!(unparsed("HANDLING: a.c\n"), []);
    }

    /// Only the kernel's own C files are looked at.
    #[test]
    fn only_the_kernels_sources() {
        assert!(is_source("fs/a.c") && is_source("include/linux/fs.h"));
        for path in ["tools/a.c", "Documentation/a.c", "rust/a.rs", "fs/Makefile"] {
            assert!(!is_source(path), "{path}");
        }
    }
}
