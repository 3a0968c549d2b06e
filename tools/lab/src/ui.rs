// SPDX-License-Identifier: GPL-2.0

//! What the lab tells while it works: one [`Step`] per long thing it does, as a
//! progress bar on a terminal, as plain lines anywhere else.  All of it goes to
//! standard error; standard output belongs to the answer.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

/// How often a step without a terminal says that it is still alive.
const PLAIN_PERIOD: Duration = Duration::from_secs(30);
/// Characters of a bar, as in the templates below.
const BAR: usize = 30;

/// The bar on the terminal now, if there is one.
static ACTIVE: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn active(bar: Option<ProgressBar>) {
    if let Ok(mut active) = ACTIVE.lock() {
        *active = bar;
    }
}

/// Does something that writes to the terminal, with the bar out of its way.
pub fn aside<R>(write: impl FnOnce() -> R) -> R {
    let bar = ACTIVE.lock().ok().and_then(|active| active.clone());
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// One line on standard error, in the lab's name.
pub fn say(text: impl AsRef<str>) {
    aside(|| eprintln!("lab: {}", text.as_ref()));
}

/// Standard error for what comes while a bar is shown.
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        aside(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A long thing being done.  Dropped without [`Step::done`], it was not finished.
pub struct Step {
    what: String,
    total: Option<u64>,
    expected: Option<Duration>,
    count: u64,
    begin: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
    finished: bool,
}

impl Step {
    /// Begins a step of `total` units; without a total it has no end in sight.
    pub fn new(what: impl Into<String>, total: Option<u64>) -> Self {
        Self::begin(what.into(), total, None)
    }

    /// Begins a step whose parts nobody counts, but that takes about so long.
    pub fn lasting(what: impl Into<String>, expected: Duration) -> Self {
        Self::begin(what.into(), None, Some(expected))
    }

    fn begin(what: String, total: Option<u64>, expected: Option<Duration>) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| new_bar(&what, total, expected));
        if bar.is_none() {
            say(&what);
        }
        active(bar.clone());
        Step {
            what,
            total,
            expected,
            count: 0,
            begin: now,
            said: now,
            bar,
            finished: false,
        }
    }

    /// One unit more is done; `detail` is what it was.
    pub fn advance(&mut self, detail: &str) {
        self.reach(self.count + 1, detail);
    }

    /// So many units are done; `detail` is what is being done.
    pub fn reach(&mut self, count: u64, detail: &str) {
        self.count = count;
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
        let share = match (self.total, self.expected) {
            (Some(total), _) if total > 0 => {
                format!("{}% ", (self.count * 100 / total).min(99))
            }
            (_, Some(expected)) => {
                format!("about {}% ", guess(self.begin.elapsed(), expected).0)
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
        self.clear();
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

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            active(None);
            bar.finish_and_clear();
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            self.clear();
        }
    }
}

/// Per cent done and time left of what has taken `elapsed` of about `expected`.
fn guess(elapsed: Duration, expected: Duration) -> (u64, Duration) {
    let share = elapsed.as_secs_f64() / expected.as_secs_f64().max(1.0);
    (
        ((share * 100.0) as u64).min(99),
        expected.saturating_sub(elapsed),
    )
}

/// The middle of a bar for a step that is measured by the clock.
fn guessed_bar(elapsed: Duration, expected: Duration) -> String {
    let (percent, left) = guess(elapsed, expected);
    let full = percent as usize * BAR / 100;
    let left = match left.as_secs() {
        0 => "soon".to_string(),
        n => format!("{:02}:{:02}:{:02} left", n / 3600, n / 60 % 60, n % 60),
    };
    let bar = format!("{}>", "=".repeat(full));
    format!("[{bar:<BAR$}] {percent:>3}% {left}")
}

fn new_bar(what: &str, total: Option<u64>, expected: Option<Duration>) -> ProgressBar {
    let bar = match (total, expected) {
        (None, Some(expected)) => ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("{prefix} {guess}  {wide_msg}")
                .expect("a constant template")
                .with_key(
                    "guess",
                    move |state: &ProgressState, to: &mut dyn std::fmt::Write| {
                        let _ = to.write_str(&guessed_bar(state.elapsed(), expected));
                    },
                ),
        ),
        (Some(total), _) => ProgressBar::new(total).with_style(
            ProgressStyle::with_template(
                "{prefix} [{bar:30}] {percent:>3}% {eta_precise} left  {wide_msg}",
            )
            .expect("a constant template")
            .progress_chars("=> "),
        ),
        (None, None) => ProgressBar::new_spinner().with_style(
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

    /// What takes longer than it should is never shown as done.
    #[test]
    fn guesses_stay_below_all() {
        let minute = Duration::from_secs(60);
        assert_eq!(
            guess(Duration::from_secs(15), minute),
            (25, Duration::from_secs(45))
        );
        assert_eq!(guess(3 * minute, minute), (99, Duration::ZERO));
        assert_eq!(guess(minute, Duration::ZERO).0, 99);
        let half = guessed_bar(minute / 2, minute);
        assert_eq!(half, "[===============>              ]  50% 00:00:30 left");
        for seconds in [0, 59, 60, 600] {
            let bar = guessed_bar(Duration::from_secs(seconds), minute);
            assert_eq!(bar.find(']'), Some(BAR + 1), "{bar}");
        }
    }

    /// A long path keeps its end, which names the file.
    #[test]
    fn shorten_keeps_the_end() {
        assert_eq!(shorten("  short ", 10), "short");
        assert_eq!(shorten("CC  mm/a/very/long/filemap.o", 10), "…filemap.o");
    }
}
