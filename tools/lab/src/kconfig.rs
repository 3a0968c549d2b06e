// SPDX-License-Identifier: GPL-2.0

//! Fragments of kernel configuration: what is asked for, and whether it is what
//! is there.  Kconfig drops what it cannot have without a word; the lab does not.

use std::collections::BTreeMap;

/// Symbols with the values that were asked for.  Later fragments win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked(BTreeMap<String, String>);

impl Asked {
    /// Adds the lines of a fragment.
    pub fn add(&mut self, fragment: &str) {
        for line in fragment.lines() {
            if let Some((name, value)) = assignment(line) {
                self.0.insert(name, value);
            }
        }
    }

    /// Asks for one symbol.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.into(), value.into());
    }

    /// No longer asks for the symbols that `drop` is true for.
    pub fn remove(&mut self, drop: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| !drop(name));
    }

    /// Whether a symbol is among them.
    pub fn asks_for(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The text for `KCONFIG_ALLCONFIG`.
    pub fn text(&self) -> String {
        self.0
            .iter()
            .map(|(name, value)| match value.as_str() {
                "n" => format!("# {name} is not set\n"),
                value => format!("{name}={value}\n"),
            })
            .collect()
    }

    /// What `config` does not have as it was asked for, one line each.
    pub fn missing(&self, config: &str) -> Vec<String> {
        let mut there = Asked::default();
        there.add(config);
        self.0
            .iter()
            .filter_map(|(name, wanted)| {
                let is = there.0.get(name).map_or("n", String::as_str);
                (is != wanted).then(|| format!("{name}: asked for {wanted}, got {is}"))
            })
            .collect()
    }
}

/// `CONFIG_X=y` and `# CONFIG_X is not set`.
fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if let Some(name) = line
        .strip_prefix("# ")
        .and_then(|rest| rest.strip_suffix(" is not set"))
    {
        return name
            .starts_with("CONFIG_")
            .then(|| (name.to_string(), "n".to_string()));
    }
    let (name, value) = line.split_once('=')?;
    name.starts_with("CONFIG_")
        .then(|| (name.to_string(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Asked {
        let mut asked = Asked::default();
        asked.add(text);
        asked
    }

    /// A dropped option is found, a comment is none.
    #[test]
    fn losses_are_found() {
        let asked = asked("# CONFIG is hard\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=8\nCONFIG_D=y\n");
        let config = "CONFIG_A=y\nCONFIG_C=4\n# CONFIG_D is not set\n";
        assert_eq!(
            asked.missing(config),
            [
                "CONFIG_C: asked for 8, got 4",
                "CONFIG_D: asked for y, got n"
            ]
        );
    }

    /// "n" and "not there" are the same answer.
    #[test]
    fn absent_is_no() {
        assert!(asked("CONFIG_B=n\n").missing("").is_empty());
        assert!(!asked("CONFIG_B=n\n").missing("CONFIG_B=y\n").is_empty());
    }

    /// A later fragment overrides an earlier one.
    #[test]
    fn later_wins() {
        let mut both = asked("CONFIG_A=y\nCONFIG_B=y\n");
        both.add("CONFIG_A=n\n");
        assert_eq!(both.text(), "# CONFIG_A is not set\nCONFIG_B=y\n");
    }
}
