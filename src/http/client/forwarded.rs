//! The lines of `Forwarded` (RFC 7239) and of `X-Forwarded-For`, as lists of hops. Any text parses: a malformed entry
//! is a hidden hop.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One entry: the peer of a proxy, as the proxy states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// An address. An IPv4 address in IPv6 form counts as IPv4.
    Address(IpAddr),
    /// No address: `unknown`, an obfuscated identifier, nothing, or nonsense.
    Hidden,
}

/// The hops of one line of `Forwarded`, left to right. A line whose quotation marks don't match is one hidden hop,
/// because its entries cannot be separated.
#[must_use]
pub fn hops(line: &str) -> Vec<Hop> {
    match split(line, ',') {
        Some(elements) => elements.into_iter().map(element).collect(),
        None => vec![Hop::Hidden],
    }
}

/// The hops of one line of `X-Forwarded-For`, left to right.
#[must_use]
pub fn x_hops(line: &str) -> Vec<Hop> {
    line.split(',').map(|entry| node(entry.trim_matches(BLANK))).collect()
}

const BLANK: [char; 2] = [' ', '\t'];

/// The pieces between `separator`s that are not in a quoted string; `None` where a quoted string has no end.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            c if c == separator && !is_quoted => {
                pieces.push(text.get(start..at)?);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(text.get(start..)?);
    (!is_quoted).then_some(pieces)
}

/// The hop of an element such as `for=192.0.2.60;proto=http;by=203.0.113.43`; hidden unless every pair is well-formed
/// and one of them is `for`.
fn element(text: &str) -> Hop {
    let mut found = None;
    for pair in split(text, ';').unwrap_or_default() {
        let pair = pair.trim_matches(BLANK);
        if pair.is_empty() {
            continue;
        }
        let Some((name, value)) = pair.split_once('=').and_then(|(name, value)| Some((name, value_of(value)?))) else {
            return Hop::Hidden;
        };
        if name.eq_ignore_ascii_case("for") && found.replace(node(&value)).is_some() {
            return Hop::Hidden;
        }
    }
    found.unwrap_or(Hop::Hidden)
}

/// The value of a token or of a quoted string. Colons and brackets pass without quotation marks, which many proxies
/// forget.
fn value_of(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else {
        let is_plain = |c: char| c.is_ascii_graphic() && !"\"\\,;=".contains(c);
        return text.chars().all(is_plain).then(|| text.to_owned());
    };
    let mut value = String::with_capacity(inner.len());
    let mut chars = inner.strip_suffix('"')?.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
    Some(value)
}

/// An address with or without a port. Ports may be obfuscated, as `_name`.
fn node(text: &str) -> Hop {
    let v6 = |text: &str| text.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let v4 = |text: &str| text.parse::<Ipv4Addr>().ok().map(IpAddr::from);
    let addr = match text.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .filter(|(_, port)| port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
            .and_then(|(addr, _)| v6(addr)),
        None => v6(text).or_else(|| match text.split_once(':') {
            Some((addr, port)) => v4(addr).filter(|_| is_port(port)),
            None => v4(text),
        }),
    };
    addr.map_or(Hop::Hidden, |addr| Hop::Address(addr.to_canonical()))
}

fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c)),
        None => text.bytes().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Hop {
        Hop::Address(text.parse().unwrap())
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        assert_eq!(hops("for=\"_gazonk\""), [Hop::Hidden]);
        assert_eq!(hops("For=\"[2001:db8:cafe::17]:4711\""), [addr("2001:db8:cafe::17")]);
        assert_eq!(hops("for=192.0.2.60;proto=http;by=203.0.113.43"), [addr("192.0.2.60")]);
        assert_eq!(hops("for=192.0.2.43, for=198.51.100.17"), [addr("192.0.2.43"), addr("198.51.100.17")]);
        assert_eq!(hops("for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown").len(), 3);
        assert_eq!(hops("for=_hidden, for=_SEVKISEK"), [Hop::Hidden, Hop::Hidden]);
        assert_eq!(hops("proto=http;for=\"192.0.2.1:_port\" ; by=_x"), [addr("192.0.2.1")]);
    }

    #[test]
    fn quoted_strings_may_hold_anything() {
        assert_eq!(hops(r#"host="a, for=10.0.0.1; \" ";for=192.0.2.1"#), [addr("192.0.2.1")]);
        assert_eq!(hops(r#"for="192\.0.2.1""#), [addr("192.0.2.1")]);
        assert_eq!(hops(r#"for="192.0.2.1"#), [Hop::Hidden], "no end");
        assert_eq!(hops(r#"for=10.0.0.9, for="192.0.2.1\""#), [Hop::Hidden], "no end: its last mark is escaped");
    }

    #[test]
    fn what_is_malformed_or_ambiguous_is_hidden() {
        for text in [
            "",
            ";",
            "for",
            "for=",
            "=1.2.3.4",
            "for =192.0.2.1",
            "for= 192.0.2.1",
            "for=192.0.2.1 x",
            "192.0.2.1",
            "for=192.0.2.1;for=192.0.2.2",
            "for=192.0.2.1;FOR=192.0.2.1",
            "for=a=b",
            "for=\"192.0.2.1\"x",
            "for=192.0.2.1;x",
            "for=0300.0.2.1",
            "for=192.0.2.1:",
            "for=192.0.2.1:+80",
            "for=[2001:db8::1",
            "for=[2001:db8::1]x",
            "for=[192.0.2.1]",
            "for=\"[fe80::1%eth0]\"",
            "for=192.0.2.1:65536",
            "for=\"192.0.2.1:_\"",
        ] {
            assert_eq!(hops(text), [Hop::Hidden], "{text:?}");
        }
    }

    #[test]
    fn x_forwarded_for_is_a_list_of_addresses() {
        let line =
            "192.0.2.1,2001:db8::1 ,\t[2001:db8::2]:443, 192.0.2.2:80, ::ffff:192.0.2.3, unknown,, \"192.0.2.4\"";
        let expected = [
            addr("192.0.2.1"),
            addr("2001:db8::1"),
            addr("2001:db8::2"),
            addr("192.0.2.2"),
            addr("192.0.2.3"),
            Hop::Hidden,
            Hop::Hidden,
            Hop::Hidden,
        ];
        assert_eq!(x_hops(line), expected);
    }
}
