//! Who computes where, when what honest clients see is measured.
//!
//! Real attackers compute on machines of their own: what these take from the service should be what they make it do, not
//! the core that they do it on. The lowest priority would not do: one that computes still keeps a thread that wakes on its
//! core waiting until the kernel's next tick, which is several times what an answer takes.

use std::fs;
use std::sync::OnceLock;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

struct Sides {
    attackers: CpuSet,
    defenders: CpuSet,
}

/// Moves this process to all cores but the attackers'; what it starts stays there. With one core everybody shares it.
pub fn defend() {
    for thread in fs::read_dir("/proc/self/task").unwrap() {
        let id = thread.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // One that has ended meanwhile needs no core.
        let _ = sched_setaffinity(Pid::from_raw(id), &sides().defenders);
    }
}

/// Moves this thread to the attackers' core; what it starts stays there.
pub fn attack() {
    sched_setaffinity(None, &sides().attackers).unwrap();
}

/// As the cores were before anybody was moved: the last of them is the attackers'.
fn sides() -> &'static Sides {
    static SIDES: OnceLock<Sides> = OnceLock::new();
    SIDES.get_or_init(|| {
        let all = sched_getaffinity(None).unwrap();
        if all.count() == 1 {
            return Sides { attackers: all, defenders: all };
        }
        let last = (0..CpuSet::MAX_CPU).rfind(|&core| all.is_set(core)).unwrap();
        let (mut attackers, mut defenders) = (CpuSet::new(), all);
        attackers.set(last);
        defenders.unset(last);
        Sides { attackers, defenders }
    })
}
