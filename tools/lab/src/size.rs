// SPDX-License-Identifier: GPL-2.0

//! Sizes as people write them: `512M`, `3G`, `64K`.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(char, u64); 4] = [
    ('K', 1 << 10),
    ('M', 1 << 20),
    ('G', 1 << 30),
    ('T', 1 << 40),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a size: write a whole number and K, M, G or T");
        if text == "0" {
            return Ok(Size(0));
        }
        let last = text.chars().last().ok_or_else(wrong)?.to_ascii_uppercase();
        let (_, unit) = UNITS
            .iter()
            .find(|(name, _)| *name == last)
            .ok_or_else(wrong)?;
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(*unit))
            .map(Size)
            .ok_or_else(|| format!("'{text}' is too large"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, unit) in UNITS.iter().rev() {
            if self.0 >= *unit && self.0 % unit == 0 {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// Bytes as MiB with one digit, for tables.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the help promises is understood, in both cases of letters.
    #[test]
    fn sizes_are_read() {
        assert_eq!("64K".parse(), Ok(Size(64 << 10)));
        assert_eq!("512m".parse(), Ok(Size(512 << 20)));
        assert_eq!("3G".parse(), Ok(Size(3 << 30)));
        assert_eq!("0G".parse(), Ok(Size(0)));
        assert_eq!("0".parse(), Ok(Size(0)));
    }

    /// Anything else is refused instead of being guessed at.
    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "G",
            "3",
            "-1G",
            "1.5G",
            "3GB",
            "0x3G",
            " 3G",
            "99999999999T",
            "3é",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text:?} was taken");
        }
    }

    /// What is printed is what is read back.
    #[test]
    fn printing_is_the_inverse() {
        for text in ["64K", "1M", "3G", "1536M"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
    }
}
