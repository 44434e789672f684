//! bcrypt's strings, read and written.

use super::hash;
use proptest::prelude::*;
use rollcall::hashing::mcf::{Cost, Mcf, McfError, Verdict};

const HASH: &str = "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe";

#[test]
fn each_defect_has_its_own_error() {
    let with = |at: usize, byte: &str| [&HASH[..at], byte, &HASH[at + byte.len()..]].concat();
    let cases = [
        (String::new(), McfError::Shape),
        (HASH[..59].to_owned(), McfError::Shape),
        (HASH.to_owned() + ".", McfError::Shape),
        (with(0, "!"), McfError::Shape),
        (with(1, "1"), McfError::Shape),
        (with(3, "."), McfError::Shape),
        (with(6, "."), McfError::Shape),
        (with(2, "x"), McfError::Version),
        (with(4, "03"), McfError::Cost),
        (with(4, "32"), McfError::Cost),
        (with(4, "99"), McfError::Cost),
        (with(4, "+6"), McfError::Cost),
        (with(4, "6 "), McfError::Cost),
        (with(28, "="), McfError::Alphabet),
        (with(59, "-"), McfError::Alphabet),
        (with(30, "é"), McfError::Alphabet),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Mcf>().unwrap_err(), error, "{text}");
    }
}

#[test]
fn costs_run_from_4_to_31() {
    for log_rounds in 0..=u8::MAX {
        let text = format!("$2b${log_rounds:02}${}", &HASH[7..]);
        match Cost::new(log_rounds) {
            Ok(cost) => assert_eq!((text.parse::<Mcf>().unwrap().cost, cost.rounds()), (cost, 1 << log_rounds)),
            Err(error) => {
                assert_eq!(error, McfError::Cost);
                assert!(text.parse::<Mcf>().is_err());
            }
        }
    }
    assert_eq!((Cost::new(4).is_ok(), Cost::new(31).is_ok(), Cost::new(3).is_ok()), (true, true, false));
}

#[test]
fn spare_bits_at_the_end_of_salt_and_digest_are_ignored_and_written_as_zeros() {
    // O is 16, 010000: only its upper two bits are salt. e is 32, 100000: only its upper four are digest.
    for (salt, digest) in [("P", "e"), ("d", "f"), ("O", "h")] {
        let text = [&HASH[..28], salt, &HASH[29..59], digest].concat();
        let stored: Mcf = text.parse().unwrap();
        assert_eq!(stored.verify(&hash(b"a", &stored.salt, stored.cost)), Verdict::Match, "{text}");
        assert_eq!(stored.encode(), HASH);
    }
}

#[test]
fn debug_output_tells_neither_salt_nor_digest() {
    assert_eq!(format!("{:?}", HASH.parse::<Mcf>().unwrap()), "Mcf { version: A, cost: Cost(6), .. }");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_here_and_by_the_bcrypt_crate(
        salt: [u8; 16], digest in prop::array::uniform23(any::<u8>()), log_rounds in 4_u8..=31,
    ) {
        let text = Mcf::new(Cost::new(log_rounds).unwrap(), salt, digest).encode();
        let stored: Mcf = text.parse().unwrap();
        prop_assert_eq!((stored.salt, stored.cost.log_rounds()), (salt, log_rounds));
        prop_assert_eq!(stored.verify(&digest), Verdict::Match);
        let theirs: bcrypt::HashParts = text.parse().unwrap();
        prop_assert_eq!(theirs.get_salt_raw(), salt);
        prop_assert_eq!(theirs.to_string(), text);
    }

    #[test]
    fn one_wrong_bit_is_a_mismatch(digest in prop::array::uniform23(any::<u8>()), bit in 0_usize..184) {
        let stored = Mcf::new(Cost::new(4).unwrap(), [0; 16], digest);
        let mut wrong = digest;
        wrong[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(stored.verify(&wrong), Verdict::Mismatch);
    }

    #[test]
    fn what_the_crate_reads_is_read_here_alike(text in r"\$2[abxy]\$[0-3][0-9]\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]") {
        if let (Ok(theirs), Ok(ours)) = (text.parse::<bcrypt::HashParts>(), text.parse::<Mcf>()) {
            prop_assert_eq!((theirs.get_salt_raw(), theirs.get_cost()), (ours.salt, u32::from(ours.cost.log_rounds())));
            prop_assert_eq!(ours.encode(), text);
        } else {
            prop_assert!(text.starts_with("$2x") || !(4..=31).contains(&text[4..6].parse::<u8>().unwrap()), "{}", text);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,70}", like in r"\$2[abxyz]?\$.{2}\$.{53}") {
        let _ = (text.parse::<Mcf>(), like.parse::<Mcf>());
    }
}
