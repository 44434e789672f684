//! The lanes against the `bcrypt` crate, and against a model of their schedule.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use rollcall::hashing::Digest;
use rollcall::hashing::lanes::Lanes;
use rollcall::hashing::mcf::Cost;

/// A hash to make, and how many slices after the one before it arrives.
#[derive(Clone, Debug)]
struct Arrival {
    password: Vec<u8>,
    salt: [u8; 16],
    cost: u8,
    padding: u64,
    after: u8,
}

fn arrivals(costs: std::ops::RangeInclusive<u8>, most: usize) -> impl Strategy<Value = Vec<Arrival>> {
    // Half of the passwords near the limit, where a mistake in the key's cycle would show.
    let password = prop_oneof![prop::collection::vec(any::<u8>(), 0..=72), prop::collection::vec(any::<u8>(), 68..=72)];
    // Low costs mostly, for speed; the rounds of a high cost are no different.
    let cost =
        (any::<u32>(), costs).prop_map(|(coin, costs)| costs.min(4 + u8::try_from(coin.trailing_zeros()).unwrap()));
    let (padding, after) = (prop_oneof![Just(0), 0..100_u64], prop_oneof![Just(0), 0..6_u8]);
    let arrival = (password, any::<[u8; 16]>(), cost, padding, after)
        .prop_map(|(password, salt, cost, padding, after)| Arrival { password, salt, cost, padding, after });
    prop::collection::vec(arrival, most / 4..=most)
}

fn crates(arrival: &Arrival) -> Digest {
    let mut key = [&arrival.password[..], &[0]].concat();
    key.truncate(72);
    bcrypt::bcrypt(u32::from(arrival.cost), arrival.salt, &key)[..23].try_into().unwrap()
}

/// Runs `arrivals` through the lanes as an engine would, and checks the schedule on the way. Gives each ticket's digest.
fn run(capacity: usize, slice: u32, arrivals: &[Arrival]) -> BTreeMap<usize, Digest> {
    let mut lanes = Lanes::new(capacity);
    let mut coming: VecDeque<_> = arrivals.iter().enumerate().collect();
    let mut pause = 0;
    // The model: the rounds that each ticket has left, of its hash or of its padding, and the padding to come.
    let mut model: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    let mut done = BTreeMap::new();
    while !coming.is_empty() || lanes.busy() > 0 {
        while let Some((ticket, arrival)) = coming.front() {
            if pause < arrival.after {
                pause += 1;
                break;
            }
            let cost = Cost::new(arrival.cost).unwrap();
            let admitted = lanes.admit_padded(*ticket, &arrival.password, &arrival.salt, cost, arrival.padding);
            assert_eq!(admitted.is_err(), model.len() == capacity, "a job is refused only where every lane is busy");
            if admitted.is_err() {
                break;
            }
            model.insert(*ticket, (cost.rounds(), arrival.padding));
            pause = 0;
            coming.pop_front();
        }

        let step = model.values().map(|(rounds, _)| *rounds).min().unwrap_or(0).min(u64::from(slice));
        let mut retired = Vec::new();
        let advanced = lanes.advance(slice, |ticket, digest| {
            assert!(done.insert(ticket, digest).is_none(), "no job is answered twice");
            retired.push(ticket);
        });
        assert_eq!(u64::from(advanced), step);
        // Nobody starves: every busy lane moves in every slice, by the same number of rounds.
        for (rounds, padding) in model.values_mut() {
            *rounds -= step;
            if *rounds == 0 {
                *rounds = std::mem::take(padding);
            }
        }
        for ticket in retired {
            assert_eq!(
                model.remove(&ticket),
                Some((0, 0)),
                "a job is answered when its rounds are done, and not before"
            );
        }
        assert!(model.values().all(|(rounds, _)| *rounds > 0), "a finished job is answered at once");
        let mut left: Vec<u64> = lanes.rounds().collect();
        let mut expected: Vec<u64> = model.values().map(|(rounds, padding)| rounds + padding).collect();
        left.sort_unstable();
        expected.sort_unstable();
        assert_eq!((left, lanes.busy()), (expected, model.len()), "the work reported is the work left");
    }
    done
}

proptest! {
    // 56 cases of 10 to 40 hashes on 8 lane counts: some 11,000 hashes.
    #![proptest_config(ProptestConfig::with_cases(56))]

    #[test]
    fn every_lane_count_computes_what_the_bcrypt_crate_does_whenever_jobs_arrive(
        arrivals in arrivals(4..=7, 40), slice in 1_u32..40,
    ) {
        let expected: BTreeMap<_, _> = arrivals.iter().map(crates).enumerate().collect();
        for capacity in 1..=8 {
            prop_assert_eq!(&run(capacity, slice, &arrivals), &expected, "{} lanes", capacity);
        }
    }
}

#[test]
fn a_long_job_among_many_short_ones_finishes_as_soon_as_if_alone() {
    let mut lanes = Lanes::new(4);
    let (long, short) = (Cost::new(9).unwrap(), Cost::new(4).unwrap());
    lanes.admit("long", b"", &[0; 16], long).unwrap();
    let (mut rounds, mut finished, mut shorts) = (0, false, 0);
    while !finished {
        while lanes.admit("short", b"", &[0; 16], short).is_ok() {}
        lanes.advance(16, |ticket, _| if ticket == "long" { finished = true } else { shorts += 1 });
        rounds += 16;
    }
    assert_eq!((rounds, shorts), (512, 3 * 32));
}

#[test]
fn capacity_is_held_to_1_to_8() {
    let capacity = |asked| Lanes::<()>::new(asked).capacity();
    assert_eq!([0, 1, 5, 8, 9, usize::MAX].map(capacity), [1, 1, 5, 8, 8, 8]);
}

#[test]
fn a_full_core_gives_the_ticket_back() {
    let mut lanes = Lanes::new(1);
    let cost = Cost::new(4).unwrap();
    assert_eq!(lanes.admit("first", b"", &[0; 16], cost), Ok(()));
    assert_eq!(lanes.admit("second", b"", &[0; 16], cost), Err("second"));
}

#[test]
fn idle_lanes_have_nothing_to_do() {
    let mut lanes: Lanes<()> = Lanes::new(8);
    lanes.advance(u32::MAX, |(), _| unreachable!("nothing was admitted"));
    assert_eq!((lanes.busy(), lanes.rounds().count()), (0, 0));
}
