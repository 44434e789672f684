//! Published hashes, recomputed.

use super::hash;
use rollcall::hashing::lanes::Lanes;
use rollcall::hashing::mcf::{Cost, Mcf, Verdict};

/// Openwall's `crypt_blowfish`, `wrapper.c`, without the `2x` hashes, and without the two `2a` hashes of passwords with
/// a byte of 255 that its guard against a bug of its own makes different from OpenBSD's. Such bytes are not UTF-8.
fn openwall() -> Vec<(&'static str, Vec<u8>)> {
    let long = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored";
    let ignored = b"chars after 72 are ignored as usual";
    vec![
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", b"U*U".to_vec()),
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", b"U*U*".to_vec()),
        ("$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", b"U*U*U".to_vec()),
        ("$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", long.to_vec()),
        ("$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", b"\xff\xff\xa3".to_vec()),
        ("$2b$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", b"\xff\xff\xa3".to_vec()),
        ("$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq", b"\xa3".to_vec()),
        ("$2a$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq", b"\xa3".to_vec()),
        ("$2b$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq", b"\xa3".to_vec()),
        ("$2y$05$/OK.fbVrR/bpIqNJ5ianF.o./n25XVfn6oAPaUvHe.Csk4zRfsYPi", b"\xff\xa334\xff\xff\xff\xa3345".to_vec()),
        ("$2y$05$/OK.fbVrR/bpIqNJ5ianF.nRht2l/HRhr6zmCp9vYUvvsqynflf9e", b"\xff\xa3345".to_vec()),
        ("$2a$05$/OK.fbVrR/bpIqNJ5ianF.nRht2l/HRhr6zmCp9vYUvvsqynflf9e", b"\xff\xa3345".to_vec()),
        ("$2a$05$/OK.fbVrR/bpIqNJ5ianF.6IflQkJytoRVc1yuaNtHfiuq.FRlSIS", b"\xa3ab".to_vec()),
        ("$2y$05$/OK.fbVrR/bpIqNJ5ianF.6IflQkJytoRVc1yuaNtHfiuq.FRlSIS", b"\xa3ab".to_vec()),
        ("$2a$05$/OK.fbVrR/bpIqNJ5ianF.swQOIzjOiJ9GHEPuhEkvqrUyvWhEMx6", [&[0xaa; 72], &ignored[..]].concat()),
        ("$2a$05$/OK.fbVrR/bpIqNJ5ianF.R9xrDjiycxMbQE2bp.vgqlYpW5wx2yy", b"\xaa\x55".repeat(36)),
        ("$2a$05$/OK.fbVrR/bpIqNJ5ianF.9tQZzcJfm3uj2NvJ/n5xkhpqLrMpWCe", b"\x55\xaa\xff".repeat(24)),
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", Vec::new()),
    ]
}

/// jBCrypt's `TestBCrypt.java`, which Python's `bcrypt` and OpenBSD's regression suite share, up to cost 10.
const JBCRYPT: [(&str, &str); 13] = [
    ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
    ("", "$2a$08$HqWuK6/Ng6sg9gQzbLrgb.Tl.ZHfXLhvt/SgVyWhQqgqcZ7ZuUtye"),
    ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
    ("a", "$2a$08$cfcvVd2aQ8CMvoMpP2EBfeodLEkkFJ9umNEfPD18.hUF62qqlC/V."),
    ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
    ("abc", "$2a$08$Ro0CUfOqk6cXEKf3dyaM7OhSCvnwM9s4wIX9JeLapehKK5YdLxKcm"),
    ("abc", "$2a$10$WvvTPHKwdBJ3uk0Z37EMR.hLA2W6N9AEBhEgrAOljy2Ae5MtaSIUi"),
    ("abcdefghijklmnopqrstuvwxyz", "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC"),
    ("abcdefghijklmnopqrstuvwxyz", "$2a$08$aTsUwsyowQuzRrDqFflhgekJ8d9/7Z3GV3UcgvzQW3J5zMyrTvlz."),
    ("abcdefghijklmnopqrstuvwxyz", "$2a$10$fVH8e28OQRj9tqiDXs1e1uxpsjN0c7II7YPKXua2NAKYvM6iQk7dq"),
    ("~!@#$%^&*()      ~!@#$%^&*()PNBFRD", "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO"),
    ("~!@#$%^&*()      ~!@#$%^&*()PNBFRD", "$2a$08$Eq2r4G/76Wv39MzSX262huzPz612MZiYHVUJe/OcOql2jo4.9UxTW"),
    ("~!@#$%^&*()      ~!@#$%^&*()PNBFRD", "$2a$10$LgfYWkbzEvQ4JakH7rOvHe0y8pHKF9OaFgwUZ2q7W2FFZmZzJYlfS"),
];

fn published() -> Vec<(&'static str, Vec<u8>)> {
    openwall().into_iter().chain(JBCRYPT.map(|(password, text)| (text, password.into()))).collect()
}

#[test]
fn every_published_hash_is_recomputed_alone() {
    for (text, password) in published() {
        let stored: Mcf = text.parse().unwrap();
        let digest = hash(&password, &stored.salt, stored.cost);
        assert_eq!(stored.verify(&digest), Verdict::Match, "{text}");
        assert_eq!(stored.encode(), text);
    }
}

#[test]
fn every_published_hash_is_recomputed_side_by_side_whatever_the_number_of_lanes() {
    for capacity in 1..=8 {
        let mut lanes = Lanes::new(capacity);
        let (mut waiting, mut verified) = (published(), 0);
        waiting.retain(|(text, _)| !text.contains("$10$"));
        let expected = waiting.len();
        while !waiting.is_empty() || lanes.busy() > 0 {
            while lanes.busy() < capacity
                && let Some((text, password)) = waiting.pop()
            {
                let stored: Mcf = text.parse().unwrap();
                let (salt, cost) = (stored.salt, stored.cost);
                lanes.admit(stored, &password, &salt, cost).unwrap();
            }
            lanes.advance(7, |stored, digest| {
                assert_eq!(stored.verify(&digest), Verdict::Match, "{stored:?} on {capacity} lanes");
                verified += 1;
            });
        }
        assert_eq!(verified, expected);
    }
}

#[test]
fn bytes_past_the_72nd_do_not_count_and_the_72nd_does() {
    let (salt, cost) = ([1; 16], Cost::new(4).unwrap());
    let mut password = [b'x'; 73];
    let whole = hash(&password, &salt, cost);
    assert_eq!(hash(&password[..72], &salt, cost), whole);
    assert_ne!(hash(&password[..71], &salt, cost), whole);
    password[72] = b'y';
    assert_eq!(hash(&password, &salt, cost), whole);
    password[71] = b'y';
    assert_ne!(hash(&password, &salt, cost), whole);
}
