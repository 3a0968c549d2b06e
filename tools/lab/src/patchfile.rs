// SPDX-License-Identifier: GPL-2.0

//! One file of `patches/`: a mail header, a commit message, `---`, notes that
//! are for the mail only, and a diff of existing files (which may be empty).

use anyhow::{bail, Context, Result};

use crate::git::Person;

/// What every file of the repository says; here it is a field of the mail header,
/// which exported mails do not have.
pub const SPDX: &str = "SPDX-License-Identifier: GPL-2.0";

/// A patch file taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchFile {
    /// Who wrote it, when it says so.
    pub author: Option<Person>,
    /// The first line of the commit message.
    pub subject: String,
    /// The rest of the commit message, without blank lines around it.
    pub body: String,
    /// What stands between `---` and the diff.
    pub notes: String,
    /// The diff, from its first `diff --git`.
    pub diff: String,
}

impl PatchFile {
    /// Reads a patch file's text.
    pub fn parse(text: &str) -> Result<PatchFile> {
        let (header, rest) = text
            .split_once("\n\n")
            .context("no blank line after the mail header")?;
        let mut author = None;
        let mut subject = None;
        for field in unfold(header) {
            let Some((name, value)) = field.split_once(':') else {
                // The "From <commit> <date>" line of a mailbox.
                if field.starts_with("From ") {
                    continue;
                }
                bail!("'{field}' is no mail header line (NAME: VALUE)");
            };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "from" => author = Some(parse_person(value)?),
                "subject" => subject = Some(without_tag(value).to_string()),
                _ => {}
            }
        }
        let subject = subject
            .filter(|s| !s.is_empty())
            .context("no 'Subject:' in the mail header")?;
        let (body, tail) = split_at_separator(rest);
        let (notes, diff) = match find_diff(tail) {
            Some(at) => (&tail[..at], &tail[at..]),
            None => (tail, ""),
        };
        Ok(PatchFile {
            author,
            subject,
            body: body.trim_matches('\n').to_string(),
            notes: notes.trim_matches('\n').to_string(),
            diff: diff.to_string(),
        })
    }

    /// The text that [`PatchFile::parse`] reads back.
    pub fn format(&self) -> String {
        let mut text = format!("{SPDX}\n");
        if let Some(author) = &self.author {
            text.push_str(&format!("From: {} <{}>\n", author.name, author.email));
        }
        text.push_str(&format!("Subject: {}\n\n", self.subject));
        if !self.body.is_empty() {
            text.push_str(&self.body);
            text.push_str("\n\n");
        }
        text.push_str("---\n");
        if !self.notes.is_empty() {
            text.push_str(&self.notes);
            text.push_str("\n\n");
        }
        text.push_str(&self.diff);
        text
    }

    /// The commit message as git has it.
    pub fn message(&self) -> String {
        match self.body.as_str() {
            "" => format!("{}\n", self.subject),
            body => format!("{}\n\n{body}\n", self.subject),
        }
    }

    /// Paths that the diff would create; they belong into the tree whole.
    pub fn created(&self) -> Vec<String> {
        let mut name = String::new();
        let mut created = vec![];
        for line in self.diff.lines() {
            if let Some(rest) = line.strip_prefix("diff --git ") {
                name = rest
                    .rsplit_once(" b/")
                    .map_or(rest, |(_, path)| path)
                    .to_string();
            } else if line.starts_with("new file mode ") {
                created.push(name.clone());
            }
        }
        created
    }
}

/// Header lines with their continuations joined.
fn unfold(header: &str) -> Vec<String> {
    let mut fields: Vec<String> = vec![];
    for line in header.lines() {
        match fields.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => fields.push(line.to_string()),
        }
    }
    fields
}

fn parse_person(text: &str) -> Result<Person> {
    let (name, rest) = text
        .split_once('<')
        .with_context(|| format!("'From: {text}' is not NAME <ADDRESS>"))?;
    let email = rest.trim_end().trim_end_matches('>');
    Ok(Person {
        name: name.trim().trim_matches('"').to_string(),
        email: email.trim().to_string(),
    })
}

/// A subject without the `[PATCH v2 3/7]` that only a mail has.
fn without_tag(subject: &str) -> &str {
    match subject.strip_prefix("[PATCH") {
        Some(rest) => rest
            .split_once(']')
            .map_or(subject, |(_, after)| after.trim_start()),
        None => subject,
    }
}

/// Message and tail, parted at the first line `---`, or at the diff.
fn split_at_separator(text: &str) -> (&str, &str) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        if bare == "---" {
            return (&text[..at], &text[at + line.len()..]);
        }
        if bare.starts_with("diff --git ") {
            return (&text[..at], &text[at..]);
        }
        at += line.len();
    }
    (text, "")
}

fn find_diff(text: &str) -> Option<usize> {
    if text.starts_with("diff --git ") {
        return Some(0);
    }
    text.find("\ndiff --git ").map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "SPDX-License-Identifier: GPL-2.0\nSubject: mm: say hello\n\n\
         Because.\n\nLink: x\n\n---\nv2: louder\n\n\
                        diff --git a/mm/a.c b/mm/a.c\n--- a/mm/a.c\n+++ b/mm/a.c\n\
                        @@ -1 +1 @@\n-a\n+b\n";

    /// What is written is what was read.
    #[test]
    fn round_trip() {
        let patch = PatchFile::parse(TEXT).unwrap();
        assert_eq!(patch.subject, "mm: say hello");
        assert_eq!(patch.body, "Because.\n\nLink: x");
        assert_eq!(patch.notes, "v2: louder");
        assert!(patch.diff.starts_with("diff --git"));
        assert_eq!(patch.format(), TEXT);
        assert_eq!(patch.author, None);
    }

    /// A patch that only adds files has no diff.
    #[test]
    fn diff_may_be_empty() {
        for text in ["Subject: a\n\nWhy.\n\n---\n", "Subject: a\n\nWhy.\n"] {
            let patch = PatchFile::parse(text).unwrap();
            assert_eq!((patch.body.as_str(), patch.diff.as_str()), ("Why.", ""));
        }
    }

    /// Mails as git format-patch writes them are taken too.
    #[test]
    fn mails_are_understood() {
        let text = "From 0000 Mon Sep 17 00:00:00 2001\nFrom: A B <a@b>\nDate: x\n\
                    Subject: [PATCH 1/2] mm: a very long\n subject\n\nWhy.\n---\n a | 1 +\n\n";
        let patch = PatchFile::parse(text).unwrap();
        assert_eq!(patch.subject, "mm: a very long subject");
        assert_eq!(patch.author.unwrap().email, "a@b");
    }

    /// A missing subject is said, not made up.
    #[test]
    fn no_subject_is_an_error() {
        assert!(PatchFile::parse("From: A <a@b>\n\nWhy.\n").is_err());
        assert!(PatchFile::parse("nothing").is_err());
    }

    /// Files that a diff creates are found by name.
    #[test]
    fn creations_are_found() {
        let text = "Subject: a\n\nb\n---\ndiff --git a/x/y.c b/x/y.c\nnew file mode 100644\n\
                    --- /dev/null\n+++ b/x/y.c\n@@ -0,0 +1 @@\n+a\n";
        assert_eq!(PatchFile::parse(text).unwrap().created(), ["x/y.c"]);
    }
}
