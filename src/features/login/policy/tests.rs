use super::counter::NEVER;
use super::*;

const NOW: Moment = Moment(800_000_000_000_000);

fn rules() -> Rules {
    let seconds = Duration::from_secs;
    Rules {
        lock_after: 4,
        account_lock_after: 6,
        delay_after: 2,
        delay: Duration::from_millis(250),
        lock: seconds(900),
        forget: seconds(3600),
        known: seconds(30 * 86_400),
        lease: seconds(60),
    }
}

fn at(seconds: i64) -> Moment {
    Moment(NOW.0 + seconds * 1_000_000)
}

/// So many failures, the last of them so many seconds ago, and so many attempts under way.
fn counter(failures: i32, ago: i64, leases: usize) -> Counter {
    Counter {
        failures,
        failed_at: at(-ago),
        leases: vec![at(60); leases],
        known_until: NEVER,
        expires_at: at(3600 - ago),
        locks: 0,
    }
}

fn grant(granted: usize, known: bool) -> Grant {
    Grant { granted, entry: Some(LeaseEntry { until: at(60), known }), verdict: Verdict::Pending, wait: Duration::ZERO }
}

fn pending() -> Grant {
    refused(Verdict::Pending, Duration::ZERO)
}

fn locked(scope: Scope, seconds: u64) -> Grant {
    refused(Verdict::Locked(scope), Duration::from_secs(seconds))
}

fn paused(millis: u64) -> Grant {
    refused(Verdict::Paused, Duration::from_millis(millis))
}

#[test]
fn attempts_are_admitted_that_could_all_fail() {
    let none = || counter(0, 9999, 0);
    // The case; the network's own counter and the account's, which is not asked where the network is known; the
    // attempts wanted, and the grant.
    let cases = [
        ("nothing counted", none(), Some(none()), 3, grant(3, false)),
        ("no more than wanted", none(), Some(none()), 0, pending()),
        ("as many as the network's limit has room for", none(), Some(none()), 9, grant(4, false)),
        ("failures take room", counter(1, 0, 0), Some(none()), 9, grant(3, false)),
        ("attempts under way could fail", none(), Some(counter(0, 0, 4)), 9, grant(2, false)),
        ("those of the network too", counter(1, 0, 2), Some(counter(1, 0, 2)), 9, grant(1, false)),
        ("under way alone: worth waiting", counter(0, 0, 4), Some(none()), 1, pending()),
        ("under way on the account", none(), Some(counter(2, 0, 4)), 1, pending()),
        ("more under way than the limit has room for", counter(1, 0, 9), Some(none()), 1, pending()),
        ("the account is locked", none(), Some(counter(6, 100, 0)), 1, locked(Scope::Account, 800)),
        ("the account before the network", counter(4, 5, 0), Some(counter(6, 100, 0)), 1, locked(Scope::Account, 800)),
        ("a known network asks its own counter alone", counter(0, 0, 1), None, 9, grant(3, true)),
        ("and is locked by it", counter(4, 300, 0), None, 1, locked(Scope::Network, 600)),
        ("the network is locked", counter(4, 899, 0), Some(none()), 1, locked(Scope::Network, 1)),
        ("locked, not pending", counter(4, 0, 4), Some(none()), 1, locked(Scope::Network, 900)),
        ("a lock ends", counter(4, 900, 0), Some(counter(6, 900, 0)), 9, grant(4, false)),
        ("a limit that was lowered", counter(40, 1, 0), None, 1, locked(Scope::Network, 899)),
        ("no pause yet", counter(1, 0, 0), None, 1, grant(1, true)),
        ("the first pause", counter(2, 0, 0), None, 1, paused(250)),
        ("twice as long after one more", counter(3, 0, 0), None, 1, paused(500)),
        ("the pause is over", counter(3, 1, 0), None, 9, grant(1, true)),
        ("paused, not pending", counter(3, 0, 1), None, 1, paused(500)),
        ("pending after the pause", counter(3, 1, 1), None, 1, pending()),
        ("failures count until they are forgotten", counter(3, 3599, 0), Some(counter(5, 3599, 0)), 9, grant(1, false)),
        ("failures are forgotten", counter(3, 3600, 0), Some(counter(5, 3600, 0)), 9, grant(4, false)),
        ("the account has less room", counter(0, 0, 0), Some(counter(5, 3599, 0)), 9, grant(1, false)),
    ];
    for (case, mut own, mut account, wanted, expected) in cases {
        assert_eq!(reserve(NOW, &mut own, account.as_mut(), wanted, &rules()), expected, "{case}");
    }
}

#[test]
fn a_grant_is_lent_on_every_counter_that_was_asked() {
    let (mut own, mut account) = (counter(1, 3600, 1), counter(1, 0, 0));
    own.leases[0] = NOW;
    assert_eq!(reserve(NOW, &mut own, Some(&mut account), 2, &rules()), grant(2, false));
    let leases = vec![at(60); 2];
    assert_eq!(own, Counter { failures: 0, leases: leases.clone(), expires_at: at(60), ..counter(1, 3600, 0) });
    assert_eq!(account, Counter { leases, ..counter(1, 0, 0) });
}

#[test]
fn leases_end_by_themselves() {
    let mut own = counter(0, 0, 4);
    own.leases = vec![at(-1), NOW, at(1), at(2)];
    assert_eq!(reserve(NOW, &mut own, None, 9, &rules()), grant(2, true));
    assert_eq!(own.leases, [at(1), at(2), at(60), at(60)]);
}

#[test]
fn pauses_are_no_longer_than_a_lock() {
    let many = Rules { lock_after: 10_000, ..rules() };
    assert_eq!(reserve(NOW, &mut counter(9_000, 0, 0), None, 1, &many), paused(900_000));
}

/// Ends an attempt under way beside the failures.
fn ended(counter: &mut Counter, scope: Scope, outcome: Option<Outcome>) -> Option<Duration> {
    counter.leases.push(at(30));
    let begun = counter.settle(NOW, Ended { lease: at(30), outcome }, scope, &rules());
    assert!(!counter.leases.contains(&at(30)), "it has expired");
    begun
}

#[test]
fn an_end_is_counted_as_what_it_is() {
    use Outcome::{Failed, Succeeded};
    use Scope::{Account, Network};
    let lock = Some(rules().lock);
    // The case; the counter before, its scope, and how the attempt ended; the failures, how long ago the last was, and
    // whether a lock began.
    let cases = [
        ("a failure", counter(1, 9, 0), Network, Some(Failed), (2, 0, None)),
        ("one on the account", counter(1, 9, 0), Account, Some(Failed), (2, 0, None)),
        ("the last one allowed", counter(3, 9, 0), Network, Some(Failed), (4, 0, lock)),
        ("the last one of the account", counter(5, 9, 0), Account, Some(Failed), (6, 0, lock)),
        ("one during a lock", counter(4, 9, 0), Network, Some(Failed), (4, 9, None)),
        ("one after a lock", counter(4, 900, 0), Network, Some(Failed), (1, 0, None)),
        ("one after those before were forgotten", counter(3, 3600, 0), Network, Some(Failed), (1, 0, None)),
        ("a success", counter(3, 9, 0), Network, Some(Succeeded), (0, 9, None)),
        ("one during a lock", counter(4, 9, 0), Network, Some(Succeeded), (0, 9, None)),
        ("one clears nothing of the account's", counter(3, 9, 0), Account, Some(Succeeded), (3, 9, None)),
        ("a password that was not checked", counter(3, 9, 0), Network, None, (3, 9, None)),
    ];
    for (case, mut counter, scope, outcome, expected) in cases {
        let begun = ended(&mut counter, scope, outcome);
        let ago = (NOW.0 - counter.failed_at.0) / 1_000_000;
        assert_eq!((counter.failures, ago, begun), expected, "{case}");
    }
}

/// The lock after so many remembered ones, begun by one more failure.
fn next_lock(locks: i16, rules: &Rules) -> (Counter, u64) {
    let mut own = Counter { locks, ..counter(3, 9, 0) };
    let end = Ended { lease: at(0), outcome: Some(Outcome::Failed) };
    let lasting = resolve(NOW, &mut own, None, end, rules).network.unwrap();
    (own, lasting.as_secs())
}

#[test]
fn each_lock_is_twice_as_long_as_the_one_before_up_to_a_day() {
    for (locks, seconds) in [(0, 900), (1, 1800), (2, 3600), (6, 57_600), (7, 86_400), (i16::MAX, 86_400)] {
        let (mut own, lasting) = next_lock(locks, &rules());
        assert_eq!(lasting, seconds);
        assert_eq!(own.locks, locks.saturating_add(1));
        let lasting = i64::try_from(lasting).unwrap();
        assert_eq!(own.expires_at, at(lasting + 3600), "kept for as long as it is remembered");
        assert_eq!(reserve(NOW, &mut own, None, 1, &rules()), locked(Scope::Network, seconds));
        assert_eq!(reserve(at(lasting - 1), &mut own, None, 1, &rules()), locked(Scope::Network, 1));
        assert_eq!(reserve(at(lasting), &mut own, None, 9, &rules()).granted, 4);
    }
    let weeks = Rules { lock: Duration::from_hours(14 * 24), ..rules() };
    assert_eq!(next_lock(3, &weeks).1, 14 * 86_400, "one that is longer by configuration is not made shorter");
}

#[test]
fn locks_are_forgotten_like_failures_and_by_a_success() {
    let end = Ended { lease: at(0), outcome: Some(Outcome::Failed) };
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    // The second lock lasts for 1800 seconds, and is remembered for 3600 more.
    for (then, expected) in [(1800, seconds(3600)), (1800 + 3599, seconds(3600)), (1800 + 3600, seconds(900))] {
        let (mut own, _) = next_lock(1, &rules());
        let ends: Vec<_> = (0..4).map(|_| resolve(at(then), &mut own, None, end, &rules()).network).collect();
        assert_eq!(ends, [None, None, None, expected], "{then}");
    }
    let (mut own, _) = next_lock(1, &rules());
    resolve(at(1800), &mut own, None, end, &rules());
    assert_eq!((own.failures, own.locks), (1, 2));
    own.refresh(at(1800 + 3600), Scope::Network, &rules());
    assert_eq!((own.failures, own.locks), (0, 0), "an hour after the failure that followed it");
    let (mut own, _) = next_lock(1, &rules());
    ended(&mut own, Scope::Network, Some(Outcome::Succeeded));
    assert_eq!((own.failures, own.locks), (0, 0));
    let mut account = Counter { locks: 1, ..counter(0, 9, 0) };
    ended(&mut account, Scope::Account, Some(Outcome::Succeeded));
    assert_eq!(account.locks, 1, "a success from one network says nothing of strangers");
}

#[test]
fn both_counters_are_settled_and_each_may_lock() {
    let end = Ended { lease: at(60), outcome: Some(Outcome::Failed) };
    for (own, account, network_locks, account_locks) in [(3, 5, true, true), (2, 5, false, true), (3, 4, true, false)] {
        let (mut own, mut account) = (counter(own, 9, 2), counter(account, 9, 1));
        let locks = resolve(NOW, &mut own, Some(&mut account), end, &rules());
        assert_eq!((locks.network.is_some(), locks.account.is_some()), (network_locks, account_locks));
        assert_eq!((own.leases.len(), account.leases.len()), (1, 0), "one lease of each");
    }
    let mut own = counter(0, 9, 1);
    assert_eq!(resolve(NOW, &mut own, None, end, &rules()), Locks::default());
    assert_eq!(own.failures, 1);
}

#[test]
fn an_end_that_comes_after_its_lease_is_counted_all_the_same() {
    let mut own = counter(1, 9, 1);
    let late = Ended { lease: at(-1), outcome: Some(Outcome::Failed) };
    resolve(NOW, &mut own, None, late, &rules());
    assert_eq!((own.failures, own.leases.len()), (2, 1), "another's lease is not touched");
}

#[test]
fn a_counter_is_kept_for_as_long_as_it_means_something() {
    let (mut failed, mut longer) = (counter(0, 9, 0), counter(0, 9, 0));
    ended(&mut failed, Scope::Network, Some(Outcome::Failed));
    assert_eq!(failed.expires_at, at(3600));
    longer.expires_at = at(86_400);
    ended(&mut longer, Scope::Network, Some(Outcome::Failed));
    assert_eq!(longer.expires_at, at(86_400));
}

#[test]
fn a_network_stays_known_by_a_login_a_day() {
    const DAY: i64 = 86_400;
    for (known_until, then) in [
        (NEVER, at(30 * DAY)),
        (at(-1), at(30 * DAY)),
        (at(29 * DAY - 1), at(30 * DAY)),
        (at(29 * DAY), at(29 * DAY)),
        (at(30 * DAY), at(30 * DAY)),
    ] {
        let mut own = Counter { known_until, expires_at: known_until, ..counter(0, 9, 0) };
        ended(&mut own, Scope::Network, Some(Outcome::Succeeded));
        assert_eq!((own.known_until, own.expires_at), (then, then));
        let mut own = Counter { known_until, ..counter(0, 9, 0) };
        ended(&mut own, Scope::Network, Some(Outcome::Failed));
        ended(&mut own, Scope::Account, Some(Outcome::Succeeded));
        assert_eq!(own.known_until, known_until, "only a success from the network itself");
    }
}

#[test]
fn a_counter_that_was_never_used_is_void() {
    let fresh = Counter::new(NOW, &rules());
    let mut own = fresh.clone();
    own.refresh(NOW, Scope::Network, &rules());
    assert_eq!(own, fresh);
    let hasty = Rules { delay_after: 0, ..rules() };
    assert_eq!(reserve(NOW, &mut own, None, 1, &hasty), grant(1, true));
}

/// Strangers must not keep an owner out for a day.
#[test]
fn locks_do_not_grow_without_end_where_the_owner_would_suffer() {
    let end = || Ended { lease: at(0), outcome: Some(Outcome::Failed) };
    let mut own = Counter { locks: 9, known_until: at(86_400), ..counter(3, 9, 0) };
    let lasting = resolve(NOW, &mut own, None, end(), &rules()).network.unwrap();
    assert_eq!(lasting.as_secs(), 3600, "on a network that the account knows");
    let mut account = Counter { locks: 9, ..counter(5, 9, 0) };
    let lasting = resolve(NOW, &mut counter(0, 9, 0), Some(&mut account), end(), &rules()).account.unwrap();
    assert_eq!(lasting.as_secs(), 900, "of all networks that it does not know");
}
