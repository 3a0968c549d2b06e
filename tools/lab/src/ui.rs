// SPDX-License-Identifier: GPL-2.0

//! What the lab tells while it works: one [`Step`] per long thing it does, as a
//! progress bar on a terminal, as plain lines anywhere else.  All of it goes to
//! standard error; standard output belongs to the answer.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// How often a step without a terminal says that it is still alive.
const PLAIN_PERIOD: Duration = Duration::from_secs(30);

/// One line on standard error, in the lab's name.
pub fn say(text: impl AsRef<str>) {
    eprintln!("lab: {}", text.as_ref());
}

/// A long thing being done.  Dropped without [`Step::done`], it was not finished.
pub struct Step {
    what: String,
    total: Option<u64>,
    count: u64,
    begin: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
    finished: bool,
}

impl Step {
    /// Begins a step of `total` units; without a total it has no end in sight.
    pub fn new(what: impl Into<String>, total: Option<u64>) -> Self {
        let what = what.into();
        let now = Instant::now();
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| new_bar(&what, total));
        if bar.is_none() {
            say(&what);
        }
        Step {
            what,
            total,
            count: 0,
            begin: now,
            said: now,
            bar,
            finished: false,
        }
    }

    /// One unit more is done; `detail` is what it was.
    pub fn advance(&mut self, detail: &str) {
        self.count += 1;
        match &self.bar {
            Some(bar) => {
                // An estimate that was too low must not show more than all.
                if self.total.is_some_and(|t| self.count > t) {
                    bar.set_length(self.count);
                }
                bar.set_position(self.count);
                bar.set_message(shorten(detail, 40));
            }
            None => self.plain(detail),
        }
    }

    /// Shows what is being done now without counting it; call it often, so that
    /// plain output shows life.
    pub fn at(&mut self, detail: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(shorten(detail, 40)),
            None => self.plain(detail),
        }
    }

    fn plain(&mut self, detail: &str) {
        if self.said.elapsed() < PLAIN_PERIOD {
            return;
        }
        self.said = Instant::now();
        let elapsed = HumanDuration(self.begin.elapsed());
        let share = match self.total {
            Some(total) if total > 0 => {
                format!("{}% ", (self.count * 100 / total).min(99))
            }
            _ => String::new(),
        };
        say(format!(
            "{}: {share}after {elapsed} {}",
            self.what,
            shorten(detail, 60)
        ));
    }

    /// The step came to its good end.
    pub fn done(mut self) {
        self.finished = true;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        say(format!(
            "{}: done in {}",
            self.what,
            HumanDuration(self.begin.elapsed())
        ));
    }

    /// Units counted so far.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(what: &str, total: Option<u64>) -> ProgressBar {
    let bar = match total {
        Some(total) => ProgressBar::new(total).with_style(
            ProgressStyle::with_template(
                "{prefix} [{bar:30}] {percent:>3}% {eta_precise} left  {wide_msg}",
            )
            .expect("a constant template")
            .progress_chars("=> "),
        ),
        None => ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("{spinner} {prefix} {elapsed_precise}  {wide_msg}")
                .expect("a constant template"),
        ),
    };
    bar.set_prefix(what.to_string());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The end of a long line tells more than its beginning.
fn shorten(text: &str, width: usize) -> String {
    let text = text.trim();
    let length = text.chars().count();
    if length <= width {
        return text.to_string();
    }
    let tail: String = text.chars().skip(length - (width - 1)).collect();
    format!("…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long path keeps its end, which names the file.
    #[test]
    fn shorten_keeps_the_end() {
        assert_eq!(shorten("  short ", 10), "short");
        assert_eq!(shorten("CC  mm/a/very/long/filemap.o", 10), "…filemap.o");
    }
}
