//! Any line of `Forwarded` or `X-Forwarded-For` has its hops; an address that is read is read again from its own spelling,
//! and nothing to the left of a proxy's own entry changes whom that entry tells.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall::http::client::forwarded::{Hop, hops, x_hops};

fuzz_target!(|line: &str| {
    for hop in hops(line).into_iter().chain(x_hops(line)) {
        let Hop::Address(addr) = hop else { continue };
        assert_eq!(addr, addr.to_canonical(), "an IPv4 address in another's clothes");
        let spelling = if addr.is_ipv4() { format!("for={addr}") } else { format!("for=\"[{addr}]\"") };
        assert_eq!(hops(&spelling), [hop], "{spelling}");
        assert_eq!(x_hops(&addr.to_string()), [hop], "{addr}");
    }
    let proxy = Hop::Address([192, 0, 2, 1].into());
    assert_eq!(x_hops(&format!("{line}, 192.0.2.1")).last(), Some(&proxy));
    // A quotation mark that a client leaves open may hide the proxy's entry, but never put another in its place.
    let read = hops(&format!("{line}, for=192.0.2.1"));
    assert!(read.last() == Some(&proxy) || read == [Hop::Hidden], "{read:?}");
});
