// SPDX-License-Identifier: GPL-2.0

//! `lab tree` and `lab refresh`: a kernel tree to edit, and the way back.
//!
//! Of the commits on the unpatched kernel, what touches files that the kernel
//! has becomes patches; files that it does not have are taken in their final
//! form and belong to the first commit that brings them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table};

use crate::cli::{RefreshArgs, TreeArgs};
use crate::git::{zero_separated, Git, Person};
use crate::kernel;
use crate::lab::{hex, key, write_whole, Lab};
use crate::patchfile::PatchFile;
use crate::series::Series;
use crate::source::BASE;
use crate::ui::{self, Step};

/// The ref of the commit that an editable tree was prepared at.
const PREPARED: &str = "refs/lab/prepared";
/// A new series.toml begins so.
const EMPTY_INDEX: &str = "# SPDX-License-Identifier: GPL-2.0\n\ntitle = \"A series\"\n\
                           cover = \"cover-letter.txt\"\n";
/// As long as git format-patch makes the part of a file name behind its number.
const SLUG: usize = 52;

/// SHA-256 of the repository's files when a tree was prepared from them.
type Origins = BTreeMap<String, String>;

/// One file's state in a tree: mode and blob.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    mode: String,
    blob: String,
}

/// What a commit does to paths: the new state, or none when it removes one.
type Changes = BTreeMap<String, Option<Entry>>;

/// What the repository is to hold.
#[derive(Debug)]
struct Taken {
    patches: Vec<TakenPatch>,
    /// New files by path: content and whether it can be executed.
    files: BTreeMap<String, (Vec<u8>, bool)>,
}

#[derive(Debug)]
struct TakenPatch {
    file: String,
    patch: PatchFile,
    new: Vec<String>,
}

/// A change of the repository.
#[derive(Debug, PartialEq, Eq)]
struct Write {
    path: String,
    /// The new content; none to remove the file.
    content: Option<Vec<u8>>,
    executable: bool,
}

/// The folder of this checkout's editable tree for a kernel source.
fn edit_dir(lab: &Lab, source: &str) -> PathBuf {
    let name = key([lab.top.display().to_string().as_bytes(), source.as_bytes()]);
    lab.cache.join("edit").join(name)
}

/// Prepares the editable tree; prints where it is.
pub fn tree(lab: &Lab, args: &TreeArgs) -> Result<i32> {
    let tree = kernel::tree(lab)?;
    let dir = edit_dir(lab, &tree.source.id);
    let linux = dir.join("linux");
    let _lock = lab.lock("edit")?;
    let tip = tree.prepared.tip();
    if !linux.join(".git").exists() {
        let step = Step::lasting("making the tree to edit", Duration::from_secs(20));
        let _ = fs::remove_dir_all(&linux);
        fs::create_dir_all(&dir)?;
        let from = lab.in_root(&tree.source.base()).display().to_string();
        let to = lab.in_root(&linux).display().to_string();
        tree.source
            .git(lab)
            .text(&["clone", "-q", "-s", "--no-checkout", &from, &to])?;
        // Relative, so that it holds in the build root and on the host.
        fs::write(
            linux.join(".git/objects/info/alternates"),
            format!(
                "../../../../../trees/{}/base/.git/objects\n",
                tree.source.id
            ),
        )?;
        prepare_edit(lab, &dir, tip)?;
        step.done();
    } else if args.reset {
        prepare_edit(lab, &dir, tip)?;
    } else {
        let git = Git::new(lab, &linux);
        let prepared = git.commit_of(PREPARED);
        let head = git.commit_of("HEAD");
        let clean = git.text(&["status", "--porcelain"])?.is_empty();
        let untouched = clean && head == prepared;
        if prepared.as_deref() == Some(tip) {
            if !untouched {
                ui::say("the tree has edits that are not refreshed");
            }
        } else if untouched || pending(lab, &linux)?.is_empty() {
            prepare_edit(lab, &dir, tip)?;
        } else {
            bail!(
                "{} has edits, and the series in the repository has changed since the tree was \
                 prepared: './lab refresh' takes the edits, './lab tree --reset' drops them",
                linux.display()
            );
        }
    }
    println!("{}", linux.display());
    Ok(0)
}

fn prepare_edit(lab: &Lab, dir: &Path, tip: &str) -> Result<()> {
    let git = Git::new(lab, &dir.join("linux"));
    git.text(&["checkout", "-q", "-f", "-B", "series", tip])?;
    git.text(&["clean", "-fdq"])?;
    git.text(&["update-ref", PREPARED, tip])?;
    let origins = origins(&lab.top)?;
    write_whole(
        &dir.join("origins.json"),
        &serde_json::to_vec_pretty(&origins)?,
    )
}

/// What an editable tree depends on in the repository, as it is now.
fn origins(top: &Path) -> Result<Origins> {
    let series = Series::read(top)?;
    let mut paths = vec!["patches/series.toml".to_string()];
    for listed in &series.index.patches {
        paths.push(format!("patches/{}", listed.file));
        paths.extend(listed.new.iter().cloned());
    }
    let mut origins = Origins::new();
    for path in paths {
        let content = fs::read(top.join(&path))?;
        origins.insert(path, hash(&content));
    }
    Ok(origins)
}

fn hash(content: &[u8]) -> String {
    use sha2::Digest;
    hex(&sha2::Sha256::digest(content))
}

/// What a refresh from the editable tree would write.
fn pending(lab: &Lab, linux: &Path) -> Result<Vec<Write>> {
    let git = Git::new(lab, linux);
    let taken = take(lab, &git, BASE, None)?;
    plan(&lab.top, &taken)
}

/// Takes a tree's edits into the repository.
pub fn refresh(lab: &Lab, args: &RefreshArgs) -> Result<i32> {
    let (linux, origins_file) = match &args.tree {
        Some(dir) => {
            let dir = fs::canonicalize(dir)
                .with_context(|| format!("--tree: cannot find {}", dir.display()))?;
            (dir, None)
        }
        None => {
            let source = crate::source::prepare(lab)?;
            let dir = edit_dir(lab, &source.id);
            if !dir.join("linux/.git").exists() {
                bail!("there is no tree to refresh from: './lab tree' makes one");
            }
            (dir.join("linux"), Some(dir.join("origins.json")))
        }
    };
    let git = Git::new(lab, &linux);
    let base = args.base.as_deref().unwrap_or(BASE);
    let taken = take(lab, &git, base, args.into.as_deref())?;
    let writes = plan(&lab.top, &taken)?;
    if writes.is_empty() {
        ui::say("nothing to take: the repository has it all");
        return Ok(0);
    }
    let origins = match &origins_file {
        Some(file) => Some(serde_json::from_slice(&fs::read(file)?)?),
        None => None,
    };
    if !args.force {
        guard(lab, &writes, origins.as_ref())?;
    }
    for write in &writes {
        let what = match (&write.content, lab.top.join(&write.path).exists()) {
            (None, _) => "removed",
            (Some(_), true) => "changed",
            (Some(_), false) => "new",
        };
        println!("{what:>8} {}", write.path);
    }
    if args.dry_run {
        return Ok(0);
    }
    for write in &writes {
        apply(&lab.top, write)?;
    }
    if let Some(file) = origins_file {
        let origins = self::origins(&lab.top)?;
        write_whole(&file, &serde_json::to_vec_pretty(&origins)?)?;
        let tip = kernel::tree(lab)?.prepared.tip().to_string();
        settle(lab, &git, &tip)?;
    }
    Ok(0)
}

/// After a refresh the series makes the very tree that was edited: its commits
/// take the place of the edits.  No file is touched.
fn settle(lab: &Lab, git: &Git, tip: &str) -> Result<()> {
    let scratch = lab.scratch()?;
    let is = snapshot(git, &scratch.path().join("snapshot"))?;
    if is != git.text(&["rev-parse", &format!("{tip}^{{tree}}")])? {
        bail!(
            "the refreshed series does not make the tree that was edited: compare {} with \
             the commit {tip} in it",
            git.directory().display()
        );
    }
    git.text(&["reset", "-q", tip])?;
    git.text(&["update-ref", PREPARED, tip])?;
    Ok(())
}

/// Refuses to overwrite what was not in the repository when the tree was
/// prepared; for trees of unknown origin, what is not committed.
fn guard(lab: &Lab, writes: &[Write], origins: Option<&Origins>) -> Result<()> {
    let mut lost = vec![];
    let git = Git::new(lab, &lab.top);
    for write in writes {
        let Ok(now) = fs::read(lab.top.join(&write.path)) else {
            continue;
        };
        let changed = match origins {
            Some(origins) => origins.get(&write.path) != Some(&hash(&now)),
            // By content, not by git's memory of times.
            None => !git
                .bytes(&["cat-file", "blob", &format!("HEAD:{}", write.path)])
                .is_ok_and(|committed| committed == now),
        };
        if changed {
            lost.push(write.path.as_str());
        }
    }
    if !lost.is_empty() {
        bail!(
            "the repository's own changes of these files would be lost (commit or undo them and \
             run './lab tree', or overwrite them with --force):\n  {}",
            lost.join("\n  ")
        );
    }
    Ok(())
}

fn apply(top: &Path, write: &Write) -> Result<()> {
    let path = top.join(&write.path);
    match &write.content {
        None => {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            // Folders that held nothing else go with it.
            let mut parent = path.parent();
            while let Some(dir) = parent.filter(|dir| *dir != top) {
                if fs::remove_dir(dir).is_err() {
                    break;
                }
                parent = dir.parent();
            }
        }
        Some(content) => {
            write_whole(&path, content)?;
            let mode = if write.executable { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// What has to change in the checkout so that it holds `taken`.
fn plan(top: &Path, taken: &Taken) -> Result<Vec<Write>> {
    // One that cannot be read would lose its notes, and leave its files behind.
    let old = match top.join("patches/series.toml").exists() {
        true => Some(Series::read(top)?),
        false => None,
    };
    let mut wanted: BTreeMap<String, (Vec<u8>, bool)> = taken.files.clone();
    for patch in &taken.patches {
        let mut text = patch.patch.clone();
        if let Some(before) = old.as_ref().and_then(|old| of_subject(old, &text.subject)) {
            // What a commit cannot tell: notes for the mail, and whether the
            // author that goes without saying was said.
            text.notes = before.notes.clone();
            if text.author.is_none() && before.author == Some(Person::neutral()) {
                text.author = before.author.clone();
            }
        }
        wanted.insert(
            format!("patches/{}", patch.file),
            (text.format().into_bytes(), false),
        );
    }
    let index = top.join("patches/series.toml");
    let text = fs::read_to_string(&index).unwrap_or_else(|_| EMPTY_INDEX.into());
    wanted.insert(
        "patches/series.toml".into(),
        (reindex(&text, taken)?.into_bytes(), false),
    );

    let mut writes = vec![];
    for (path, (content, executable)) in &wanted {
        let file = top.join(path);
        let same = fs::read(&file).is_ok_and(|now| now == *content)
            && fs::metadata(&file)
                .is_ok_and(|m| (m.permissions().mode() & 0o100 != 0) == *executable);
        if !same {
            writes.push(Write {
                path: path.clone(),
                content: Some(content.clone()),
                executable: *executable,
            });
        }
    }
    for listed in old.iter().flat_map(|old| &old.index.patches) {
        let patch = format!("patches/{}", listed.file);
        for path in std::iter::once(&patch).chain(&listed.new) {
            if !wanted.contains_key(path) && top.join(path).exists() {
                writes.push(Write {
                    path: path.clone(),
                    content: None,
                    executable: false,
                });
            }
        }
    }
    Ok(writes)
}

/// The patch of this subject as it was.
fn of_subject<'a>(old: &'a Series, subject: &str) -> Option<&'a PatchFile> {
    old.patches.iter().find(|patch| patch.subject == subject)
}

/// series.toml with the patches of `taken`, and everything else as it was.
fn reindex(text: &str, taken: &Taken) -> Result<String> {
    let mut document: DocumentMut = text.parse().context("patches/series.toml")?;
    let old: Vec<Table> = match document.get("patch") {
        Some(Item::ArrayOfTables(tables)) => tables.iter().cloned().collect(),
        _ => vec![],
    };
    let slug = |name: &str| name.split_once('-').map_or("", |(_, s)| s).to_string();
    let mut tables = ArrayOfTables::new();
    for patch in &taken.patches {
        let mut table = old
            .iter()
            .find(|table| {
                table
                    .get("file")
                    .and_then(Item::as_str)
                    .is_some_and(|name| slug(name) == slug(&patch.file))
            })
            .cloned()
            .unwrap_or_default();
        set(&mut table, "file", patch.file.as_str().into());
        let mut now: Vec<&str> = table
            .get("new")
            .and_then(Item::as_array)
            .map(|list| list.iter().filter_map(|v| v.as_str()).collect())
            .unwrap_or_default();
        now.sort_unstable();
        let mut wanted: Vec<&str> = patch.new.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        // A list that is right keeps its order and its comments.
        if wanted.is_empty() {
            table.remove("new");
        } else if now != wanted {
            let mut list: Array = wanted.iter().copied().collect();
            for value in list.iter_mut() {
                value.decor_mut().set_prefix("\n    ");
            }
            list.set_trailing(",\n");
            list.set_trailing_comma(false);
            set(&mut table, "new", list.into());
        }
        table.set_position(tables.len() + 1);
        tables.push(table);
    }
    document.insert("patch", Item::ArrayOfTables(tables));
    Ok(document.to_string())
}

/// Sets a value and leaves the rest of its line as it is.
fn set(table: &mut Table, name: &str, value: toml_edit::Value) {
    match table.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = value;
            *old.decor_mut() = decor;
        }
        None => {
            table.insert(name, Item::Value(value));
        }
    }
}

/// A commit taken apart.
struct Commit {
    subject: String,
    body: String,
    author: Person,
    changes: Changes,
}

/// Reads what the tree holds above `base`.
fn take(lab: &Lab, git: &Git, base: &str, into: Option<&str>) -> Result<Taken> {
    let shown = git.directory().display();
    let base = git.commit_of(base).with_context(|| {
        format!("{shown} has no commit '{base}' (--base names the unpatched one)")
    })?;
    if git
        .text(&["merge-base", "--is-ancestor", &base, "HEAD"])
        .is_err()
    {
        bail!("{shown}: HEAD does not build on the unpatched commit {base}");
    }
    let range = format!("{base}..HEAD");
    let merges = git.text(&["rev-list", "--merges", &range])?;
    if !merges.is_empty() {
        bail!("{shown} has merge commits above the unpatched one; a series is a line of commits");
    }
    let names = git.text(&["rev-list", "--reverse", &range])?;
    let mut commits = vec![];
    for name in names.lines() {
        commits.push(read_commit(git, name)?);
    }
    let existing: BTreeSet<String> =
        zero_separated(&git.bytes(&["ls-tree", "-r", "-z", "--name-only", &base])?)?
            .into_iter()
            .collect();
    let scratch = lab.scratch()?;
    let snapshot = snapshot(git, &scratch.path().join("snapshot"))?;
    let uncommitted = changes(git, "HEAD", &snapshot)?;
    let into = into.map(|name| find_patch(&commits, name)).transpose()?;

    let mut owners = owners(&commits, &existing);
    let edits = distribute(&commits, &existing, &uncommitted, into, &mut owners)?;
    let total = changes(git, &base, &snapshot)?;
    let files = new_files(git, &total, &existing)?;
    let mut patches = vec![];
    let mut state = git.text(&["rev-parse", &format!("{base}^{{tree}}")])?;
    for (number, commit) in commits.iter().enumerate() {
        let mut step: Changes = commit
            .changes
            .iter()
            .filter(|(path, _)| existing.contains(*path))
            .map(|(path, entry)| (path.clone(), entry.clone()))
            .collect();
        step.extend(edits.get(&number).cloned().unwrap_or_default());
        let next = apply_changes(git, &scratch.path().join("state"), &state, &step)?;
        let diff = diff(git, &state, &next)?;
        state = next;
        let new: Vec<String> = owners
            .iter()
            .filter(|(path, owner)| **owner == number && files.contains_key(*path))
            .map(|(path, _)| path.clone())
            .collect();
        if diff.is_empty() && new.is_empty() {
            bail!(
                "nothing is left of the commit \"{}\": it only edits files that an earlier one \
                 brings, which are taken in their final form; squash it into that one",
                commit.subject
            );
        }
        let author = (commit.author != Person::neutral()).then(|| commit.author.clone());
        patches.push(TakenPatch {
            file: format!("{:04}-{}.patch", number + 1, slug(&commit.subject)),
            patch: PatchFile {
                author,
                subject: commit.subject.clone(),
                body: commit.body.clone(),
                notes: String::new(),
                diff,
            },
            new,
        });
    }
    Ok(Taken { patches, files })
}

fn read_commit(git: &Git, name: &str) -> Result<Commit> {
    let text = git.text(&["log", "-1", "--format=%s%x00%an%x00%ae%x00%b", name])?;
    let mut parts = text.splitn(4, '\0');
    let mut part = || parts.next().unwrap_or("").to_string();
    Ok(Commit {
        subject: part(),
        author: Person {
            name: part(),
            email: part(),
        },
        body: part().trim_matches('\n').to_string(),
        changes: changes(git, &format!("{name}^"), name)?,
    })
}

/// The work tree as a tree object: commits, index and what is in neither.
fn snapshot(git: &Git, index: &Path) -> Result<String> {
    let path = git.text(&["rev-parse", "--git-path", "index"])?;
    let path = match Path::new(&path).is_absolute() {
        // An absolute answer may be the build root's; the index is beside .git.
        true => fs::canonicalize(&path).unwrap_or_else(|_| git.directory().join(".git/index")),
        false => git.directory().join(&path),
    };
    // With the index's memory of times, unchanged files are not read again.
    fs::copy(&path, index).with_context(|| format!("cannot read {}", path.display()))?;
    // With its time, too: git looks closer at files as young as the index.
    let time = fs::metadata(&path)?.modified()?;
    fs::File::options()
        .write(true)
        .open(index)?
        .set_modified(time)?;
    let git = git.with_index(index);
    git.text(&["add", "-A", "."])?;
    git.text(&["write-tree"])
}

/// How two trees differ.
fn changes(git: &Git, from: &str, to: &str) -> Result<Changes> {
    let out = git.bytes(&[
        "diff-tree",
        "-r",
        "-z",
        "--raw",
        "--no-renames",
        "--no-abbrev",
        from,
        to,
    ])?;
    let fields = zero_separated(&out)?;
    let mut changes = Changes::new();
    for pair in fields.chunks(2) {
        let [meta, path] = pair else {
            bail!("git diff-tree printed something else than pairs");
        };
        let words: Vec<&str> = meta.trim_start_matches(':').split(' ').collect();
        let [_, mode, _, blob, status] = words[..] else {
            bail!("git diff-tree printed '{meta}'");
        };
        let entry = (status != "D").then(|| Entry {
            mode: mode.into(),
            blob: blob.into(),
        });
        changes.insert(path.clone(), entry);
    }
    Ok(changes)
}

/// The first commit that brings each file which the kernel does not have.
fn owners(commits: &[Commit], existing: &BTreeSet<String>) -> BTreeMap<String, usize> {
    let mut owners = BTreeMap::new();
    for (number, commit) in commits.iter().enumerate() {
        for (path, entry) in &commit.changes {
            if entry.is_some() && !existing.contains(path) {
                owners.entry(path.clone()).or_insert(number);
            }
        }
    }
    owners
}

/// Finds, for each edit that is not committed, the patch that it belongs to.
fn distribute(
    commits: &[Commit],
    existing: &BTreeSet<String>,
    uncommitted: &Changes,
    into: Option<usize>,
    owners: &mut BTreeMap<String, usize>,
) -> Result<BTreeMap<usize, Changes>> {
    let mut edits: BTreeMap<usize, Changes> = BTreeMap::new();
    let mut homeless = vec![];
    for (path, entry) in uncommitted {
        if !existing.contains(path) {
            if entry.is_some() && !owners.contains_key(path) {
                match into {
                    Some(number) => {
                        owners.insert(path.clone(), number);
                    }
                    None => homeless.push(format!("{path}: a new file of no patch")),
                }
            }
            continue;
        }
        let touching: Vec<usize> = (0..commits.len())
            .filter(|n| commits[*n].changes.contains_key(path))
            .collect();
        let last = touching.last().copied();
        let target = match (into, touching.as_slice()) {
            // An edit on top of all that touches the file can go no earlier.
            (Some(number), _) if last.is_none_or(|last| last <= number) => Some(number),
            (_, [only]) => Some(*only),
            _ => None,
        };
        match target {
            Some(number) => {
                edits
                    .entry(number)
                    .or_default()
                    .insert(path.clone(), entry.clone());
            }
            None if touching.is_empty() => homeless.push(format!("{path}: touched by no patch")),
            None => {
                let names: Vec<String> = touching
                    .iter()
                    .map(|n| format!("{} ({})", n + 1, commits[*n].subject))
                    .collect();
                homeless.push(format!("{path}: touched by patches {}", names.join(", ")));
            }
        }
    }
    if !homeless.is_empty() {
        bail!(
            "not committed, and it is not clear which patch it belongs to (--into PATCH, not \
             before the last that touches the file; or a fixup commit and 'git rebase -i \
             --autosquash'):\n  {}",
            homeless.join("\n  ")
        );
    }
    Ok(edits)
}

/// A patch by its number or by the beginning of its file name or subject.
fn find_patch(commits: &[Commit], name: &str) -> Result<usize> {
    if let Ok(number @ 1..) = name.parse::<usize>() {
        if number <= commits.len() {
            return Ok(number - 1);
        }
    }
    let matching: Vec<usize> = (0..commits.len())
        .filter(|n| {
            let subject = &commits[*n].subject;
            subject.starts_with(name)
                || format!("{:04}-{}.patch", n + 1, slug(subject)).starts_with(name)
        })
        .collect();
    match matching[..] {
        [only] => Ok(only),
        [] => bail!("--into {name}: there is no such patch"),
        _ => bail!("--into {name}: more than one patch is called so"),
    }
}

/// The final form of every file that the kernel does not have.
fn new_files(
    git: &Git,
    total: &Changes,
    existing: &BTreeSet<String>,
) -> Result<BTreeMap<String, (Vec<u8>, bool)>> {
    let mut files = BTreeMap::new();
    for (path, entry) in total {
        let Some(entry) = entry else { continue };
        if existing.contains(path) {
            continue;
        }
        if !entry.mode.starts_with("100") {
            bail!("{path} is no regular file; a series brings regular files only");
        }
        let content = git.bytes(&["cat-file", "blob", &entry.blob])?;
        files.insert(path.clone(), (content, entry.mode == "100755"));
    }
    Ok(files)
}

fn apply_changes(git: &Git, index: &Path, tree: &str, changes: &Changes) -> Result<String> {
    let git = git.with_index(index);
    git.text(&["read-tree", tree])?;
    let mut info = String::new();
    for (path, entry) in changes {
        match entry {
            Some(entry) => info.push_str(&format!("{} {} 0\t{path}\n", entry.mode, entry.blob)),
            None => info.push_str(&format!("0 {} 0\t{path}\n", "0".repeat(40))),
        }
    }
    git.command(&["update-index", "--add", "--index-info"])
        .output_with(info.as_bytes())?;
    git.text(&["write-tree"])
}

/// The difference of two trees, without what changes with every commit.
fn diff(git: &Git, from: &str, to: &str) -> Result<String> {
    let out = git.bytes(&["diff-tree", "-r", "-p", "-U3", "--no-renames", from, to])?;
    let text = String::from_utf8(out).context("a diff that is not UTF-8")?;
    Ok(without_blob_names(&text))
}

fn without_blob_names(diff: &str) -> String {
    let mut text = String::with_capacity(diff.len());
    let mut in_header = false;
    for line in diff.split_inclusive('\n') {
        if line.starts_with("diff --git ") {
            in_header = true;
        } else if line.starts_with("@@ ") {
            in_header = false;
        }
        if !(in_header && line.starts_with("index ")) {
            text.push_str(line);
        }
    }
    text
}

/// The part of a patch's file name that its subject gives, as git makes it.
fn slug(subject: &str) -> String {
    let mut slug = String::new();
    for c in subject.chars() {
        let fits = c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let c = if fits { c } else { '-' };
        if (c == '-' || c == '.') && slug.ends_with(c) {
            continue;
        }
        slug.push(c);
    }
    let slug: String = slug.trim_matches('-').chars().take(SLUG).collect();
    slug.trim_end_matches(['-', '.']).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{run, TempLab};

    /// The tiny series, checked out to be edited.
    fn edited() -> (TempLab, PathBuf) {
        let temp = TempLab::with_series();
        let series = Series::read(&temp.lab.top).unwrap();
        let git = temp.kernel();
        let prepared = series.commit(&temp.lab, &git, &Person::neutral()).unwrap();
        git.text(&["checkout", "-q", "-f", "-B", "series", prepared.tip()])
            .unwrap();
        let dir = git.directory().to_path_buf();
        (temp, dir)
    }

    fn taken(temp: &TempLab, into: Option<&str>) -> Result<Vec<Write>> {
        plan(&temp.lab.top, &take(&temp.lab, &temp.kernel(), BASE, into)?)
    }

    fn paths(writes: &[Write]) -> Vec<&str> {
        writes.iter().map(|w| w.path.as_str()).collect()
    }

    fn commit(dir: &Path, message: &str) {
        run(dir, &["git", "add", "-A"]);
        run(dir, &["git", "commit", "-q", "-m", message]);
    }

    /// A tree that nobody edited changes nothing in the repository.
    #[test]
    fn untouched_tree_changes_nothing() {
        let (temp, _) = edited();
        assert_eq!(taken(&temp, None).unwrap(), []);
    }

    /// An edit of a new file is taken back, committed or not, and nothing else.
    #[test]
    fn new_file_is_taken_whole() {
        let (temp, dir) = edited();
        fs::write(dir.join("include/new.h"), "#define NEW 2\n").unwrap();
        let writes = taken(&temp, None).unwrap();
        assert_eq!(paths(&writes), ["include/new.h"]);
        assert_eq!(writes[0].content.as_deref(), Some(&b"#define NEW 2\n"[..]));
    }

    /// An edit of a file that one patch touches goes into that patch, and the
    /// series then makes the edited tree.
    #[test]
    fn edit_goes_into_its_patch() {
        let (temp, dir) = edited();
        fs::write(dir.join("mm/filemap.c"), "one\nTWO!\nthree\n").unwrap();
        let writes = taken(&temp, None).unwrap();
        assert_eq!(paths(&writes), ["patches/0002-mm-shout.patch"]);
        for write in &writes {
            apply(&temp.lab.top, write).unwrap();
        }
        let series = Series::read(&temp.lab.top).unwrap();
        let git = temp.kernel();
        let prepared = series.commit(&temp.lab, &git, &Person::neutral()).unwrap();
        let text = git
            .text(&["show", &format!("{}:mm/filemap.c", prepared.tip())])
            .unwrap();
        assert_eq!(text, "one\nTWO!\nthree");
        assert_eq!(taken(&temp, None).unwrap(), []);
    }

    /// After a refresh the tree is as if it had just been prepared.
    #[test]
    fn refreshed_tree_is_settled() {
        let (temp, dir) = edited();
        fs::write(dir.join("mm/filemap.c"), "one\nTWO!\nthree\n").unwrap();
        let git = temp.kernel();
        assert!(settle(&temp.lab, &git, "HEAD").is_err());
        for write in &taken(&temp, None).unwrap() {
            apply(&temp.lab.top, write).unwrap();
        }
        let series = Series::read(&temp.lab.top).unwrap();
        let prepared = series.commit(&temp.lab, &git, &Person::neutral()).unwrap();
        settle(&temp.lab, &git, prepared.tip()).unwrap();
        assert_eq!(git.text(&["status", "--porcelain"]).unwrap(), "");
        assert_eq!(git.commit_of("HEAD").as_deref(), Some(prepared.tip()));
    }

    /// A new commit with a new file and an edit becomes a patch; a second round
    /// finds nothing more to do.
    #[test]
    fn commit_becomes_a_patch() {
        let (temp, dir) = edited();
        fs::create_dir_all(dir.join("lib")).unwrap();
        fs::write(dir.join("lib/fresh.c"), "int x;\n").unwrap();
        fs::write(dir.join("mm/rmap.c"), "a\nB\nc\nd\n").unwrap();
        commit(&dir, "lib: add fresh, and: more\n\nWhy.");
        let writes = taken(&temp, None).unwrap();
        assert_eq!(
            paths(&writes),
            [
                "lib/fresh.c",
                "patches/0003-lib-add-fresh-and-more.patch",
                "patches/series.toml"
            ]
        );
        for write in &writes {
            apply(&temp.lab.top, write).unwrap();
        }
        let index = fs::read_to_string(temp.lab.top.join("patches/series.toml")).unwrap();
        assert!(index.contains("# The order."), "{index}");
        assert!(index.contains("lib/fresh.c"), "{index}");
        let patch = fs::read_to_string(
            temp.lab
                .top
                .join("patches/0003-lib-add-fresh-and-more.patch"),
        )
        .unwrap();
        assert!(
            patch.starts_with(
                "SPDX-License-Identifier: GPL-2.0\nFrom: T <t@t>\nSubject: lib: add fresh"
            ),
            "{patch}"
        );
        assert!(
            !patch.contains("\nindex ") && !patch.contains("fresh.c"),
            "{patch}"
        );
        assert_eq!(taken(&temp, None).unwrap(), []);
    }

    /// An edit that could belong to several patches, or to none, is not guessed
    /// at; the answer is one argument away.
    #[test]
    fn unclear_edit_is_refused() {
        let (temp, dir) = edited();
        fs::write(dir.join("mm/filemap.c"), "one\nTWO\nTHREE\n").unwrap();
        commit(&dir, "mm: shout louder");
        fs::write(dir.join("mm/filemap.c"), "ONE\nTWO\nTHREE\n").unwrap();
        fs::write(dir.join("mm/rmap.c"), "A\nb\nc\nd\n").unwrap();
        let said = format!("{:#}", taken(&temp, None).unwrap_err());
        assert!(
            said.contains("2 (mm: shout), 3 (mm: shout louder)"),
            "{said}"
        );
        assert!(said.contains("mm/rmap.c: touched by no patch"), "{said}");
        assert!(taken(&temp, Some("2")).is_err());
        let writes = taken(&temp, Some("0003-")).unwrap();
        assert_eq!(
            paths(&writes),
            ["patches/0003-mm-shout-louder.patch", "patches/series.toml"]
        );
    }

    /// A commit that only edits another's new file is named, not dropped.
    #[test]
    fn empty_commit_is_named() {
        let (temp, dir) = edited();
        fs::write(dir.join("include/new.h"), "#define NEW 3\n").unwrap();
        commit(&dir, "mm: polish");
        let said = taken(&temp, None).unwrap_err().to_string();
        assert!(said.contains("\"mm: polish\""), "{said}");
    }

    /// A new file that is removed again leaves the repository too.
    #[test]
    fn removed_file_is_removed() {
        let (temp, dir) = edited();
        fs::write(dir.join("include/other.h"), "\n").unwrap();
        run(&dir, &["git", "checkout", "-q", "HEAD~1"]);
        fs::write(dir.join("include/other.h"), "\n").unwrap();
        fs::remove_file(dir.join("include/new.h")).unwrap();
        run(&dir, &["git", "add", "-A"]);
        run(&dir, &["git", "commit", "-q", "--amend", "--no-edit"]);
        let writes = taken(&temp, None).unwrap();
        let gone = writes.iter().find(|w| w.path == "include/new.h").unwrap();
        assert_eq!(gone.content, None);
    }

    /// What the repository alone has is not overwritten.
    #[test]
    fn own_changes_are_guarded() {
        let (temp, dir) = edited();
        let origins = origins(&temp.lab.top).unwrap();
        fs::write(dir.join("include/new.h"), "#define NEW 2\n").unwrap();
        let writes = taken(&temp, None).unwrap();
        assert!(guard(&temp.lab, &writes, Some(&origins)).is_ok());
        assert!(guard(&temp.lab, &writes, None).is_ok());
        fs::write(temp.lab.top.join("include/new.h"), "#define NEW 9\n").unwrap();
        for origins in [Some(&origins), None] {
            let said = guard(&temp.lab, &writes, origins).unwrap_err().to_string();
            assert!(said.contains("include/new.h"), "{said}");
        }
    }

    /// An author that is named stays named, also the one that need not be.
    #[test]
    fn named_author_stays() {
        let (temp, _) = edited();
        let path = temp.lab.top.join("patches/0002-mm-shout.patch");
        let text = fs::read_to_string(&path).unwrap();
        let Person { name, email } = Person::neutral();
        let named = text.replacen("Subject:", &format!("From: {name} <{email}>\nSubject:"), 1);
        fs::write(&path, named).unwrap();
        assert_eq!(taken(&temp, None).unwrap(), []);
    }

    /// Notes for the mail survive, though no commit carries them.
    #[test]
    fn notes_survive() {
        let (temp, dir) = edited();
        let path = temp.lab.top.join("patches/0002-mm-shout.patch");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("---\ndiff", "---\nv2: louder\n\ndiff")).unwrap();
        assert_eq!(taken(&temp, None).unwrap(), []);
        fs::write(dir.join("mm/filemap.c"), "one\nTWO!\nthree\n").unwrap();
        let writes = taken(&temp, None).unwrap();
        let text = String::from_utf8(writes[0].content.clone().unwrap()).unwrap();
        assert!(text.contains("---\nv2: louder\n\ndiff"), "{text}");
    }

    /// File names are the ones that git would give.
    #[test]
    fn slugs_are_gits() {
        assert_eq!(slug("mm/filemap: don't panic..."), "mm-filemap-don-t-panic");
        assert_eq!(slug("a  b [c]"), "a-b-c");
        assert!(slug(&"long ".repeat(30)).len() <= SLUG);
    }
}
