//! Sizes, shares, permission bits, users and groups.

use super::field::Written;
use super::finding::Findings;
use super::node::Node;
use super::reference::Tables;
use super::valid::Principal;

/// Bytes: `1MiB`, `64KiB`, `4000KB`, `100`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size(pub u64);

/// `50%` is 0.5; 0.0 to 1.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

/// Permission bits, at most 0o7777.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mode(pub u32);

/// How many of something, 0 among them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count(pub u32);

impl Written for Count {
    fn read(node: &Node, findings: &mut Findings) -> Option<Count> {
        let text = node.text("a number", findings)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = text.parse().ok().filter(|_| digits).map(Count);
        if parsed.is_none() {
            findings
                .error(node.at, format!("`{text}` is not a number"))
                .help("write a whole number, such as `2`");
        }
        parsed
    }

    fn kind(_: &mut Tables) -> String {
        "number from 0".to_owned()
    }
}

impl Size {
    fn parse(text: &str) -> Option<Size> {
        let (number, unit) = text.split_at(
            text.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len()),
        );
        let worth: u64 = match unit {
            "" | "B" => 1,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(worth).map(Size)
    }
}

impl Written for Size {
    fn read(node: &Node, findings: &mut Findings) -> Option<Size> {
        let text = node.text("a size such as `1MiB`", findings)?;
        let parsed = Size::parse(text);
        if parsed.is_none() {
            findings
                .error(node.at, format!("`{text}` is not a size"))
                .help("write it as `1MiB`, `64KiB`, `4000KB`, or as a number of bytes");
        }
        parsed
    }

    fn kind(_: &mut Tables) -> String {
        "size".to_owned()
    }
}

impl Share {
    fn parse(text: &str) -> Option<Share> {
        let number = text.strip_suffix('%')?;
        let plain = number
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        let percent = number.parse::<f64>().ok().filter(|_| plain)?;
        (0.0..=100.0)
            .contains(&percent)
            .then_some(Share(percent / 100.0))
    }
}

impl Written for Share {
    fn read(node: &Node, findings: &mut Findings) -> Option<Share> {
        let text = node.text("a percentage such as `50%`", findings)?;
        let parsed = Share::parse(text);
        if parsed.is_none() {
            findings
                .error(node.at, format!("`{text}` is not a percentage"))
                .help("write it as `50%`, from `0%` to `100%`");
        }
        parsed
    }

    fn kind(_: &mut Tables) -> String {
        "percentage from `0%` to `100%`".to_owned()
    }
}

impl Mode {
    fn parse(text: &str) -> Option<Mode> {
        let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let mode = u32::from_str_radix(text, 8).ok()?;
        (octal && matches!(text.len(), 3 | 4)).then_some(Mode(mode))
    }
}

impl Written for Mode {
    fn read(node: &Node, findings: &mut Findings) -> Option<Mode> {
        let text = node.text("permission bits such as `0640`", findings)?;
        let parsed = Mode::parse(text);
        if parsed.is_none() {
            findings
                .error(node.at, format!("`{text}` is not a file mode"))
                .help("write three or four octal digits, such as `0640`");
        }
        parsed
    }

    fn kind(_: &mut Tables) -> String {
        "permission bits".to_owned()
    }
}

impl Written for Principal {
    /// A number is an id, everything else a name.
    fn read(node: &Node, findings: &mut Findings) -> Option<Principal> {
        let text = String::read(node, findings)?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            if text.contains([':', '/', ' ']) {
                findings
                    .error(
                        node.at,
                        format!("`{text}` is not the name of one user or group"),
                    )
                    .help(
                        "give the user as `owner` and the group as `group`, each by name or number",
                    );
                return None;
            }
            return Some(Principal::Name(text));
        }
        match text.parse::<u32>() {
            // The largest number means "leave as it is" to chown(2).
            Ok(id) if id < u32::MAX => Some(Principal::Id(id)),
            _ => {
                findings
                    .error(
                        node.at,
                        format!("no user or group can have the number {text}"),
                    )
                    .help(format!("the largest is {}", u32::MAX - 1));
                None
            }
        }
    }

    fn kind(_: &mut Tables) -> String {
        "name or number".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_in_thousands_or_in_1024() {
        assert_eq!(Size::parse("1MiB"), Some(Size(1_048_576)));
        assert_eq!(Size::parse("64KiB"), Some(Size(65_536)));
        assert_eq!(Size::parse("4000KB"), Some(Size(4_000_000)));
        assert_eq!(Size::parse("100"), Some(Size(100)));
        for wrong in ["", "MiB", "1M", "1.5MiB", "-1", "1 MiB", "99999999999GiB"] {
            assert_eq!(Size::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shares_lie_between_nothing_and_all() {
        assert_eq!(Share::parse("50%"), Some(Share(0.5)));
        assert_eq!(Share::parse("12.5%"), Some(Share(0.125)));
        for wrong in ["", "%", "50", "0.5", "101%", "-1%", "nan%", "inf%", "1e1%"] {
            assert_eq!(Share::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn modes_have_three_or_four_octal_digits() {
        assert_eq!(Mode::parse("0640"), Some(Mode(0o640)));
        assert_eq!(Mode::parse("640"), Some(Mode(0o640)));
        assert_eq!(Mode::parse("4755"), Some(Mode(0o4755)));
        for wrong in ["", "64", "0o640", "0688", "00640", "+640", "rw-"] {
            assert_eq!(Mode::parse(wrong), None, "{wrong}");
        }
    }
}
