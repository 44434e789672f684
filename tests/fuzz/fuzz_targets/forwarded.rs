//! Any line of `Forwarded` or `X-Forwarded-For` has its hops; what it says of an address is read as that address alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rollcall::http::client::forwarded::{Hop, hops, x_hops};

fuzz_target!(|line: &str| {
    for hop in hops(line).into_iter().chain(x_hops(line)) {
        let Hop::Address(addr) = hop else { continue };
        assert_eq!(addr, addr.to_canonical(), "an IPv4 address in another's clothes");
        assert_eq!(hops(&format!("for=\"[{addr}]\"")).len(), 1);
        assert_eq!(x_hops(&addr.to_string()), [hop], "its own spelling");
    }
    // What a client writes to the left of a proxy's own entry never changes how that entry is read.
    assert_eq!(x_hops(&format!("{line}, 192.0.2.1")).last(), x_hops("192.0.2.1").last());
});
