//! Timing on a machine that does other things, too.
//!
//! In: work to repeat. Out: percentiles in microseconds, calls per second, kibibytes. What is compared is measured in
//! turns, and of each the quietest round counts: other load only ever takes away.

use std::time::{Duration, Instant};

const ROUNDS: usize = 12;
const ROUND: Duration = Duration::from_millis(150);

/// p50 and p99, in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// The quietest round of each of two pieces of work, measured in turns.
pub(crate) fn in_turns(mut works: [&mut dyn FnMut(); 2]) -> [Spread; 2] {
    let nothing_yet = Spread { p50: f64::INFINITY, p99: f64::INFINITY };
    let mut best = [nothing_yet; 2];
    // The first round warms up.
    for round in 0..=ROUNDS {
        for (work, best) in works.iter_mut().zip(&mut best) {
            let spread = one_round(work);
            if round > 0 {
                best.p50 = best.p50.min(spread.p50);
                best.p99 = best.p99.min(spread.p99);
            }
        }
    }
    best
}

fn one_round(work: &mut dyn FnMut()) -> Spread {
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < ROUND {
        let call = Instant::now();
        work();
        times.push(call.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(f64::NAN);
    Spread { p50: at(50), p99: at(99) }
}

/// Calls per second on one worker and on two, in turns: the best round of each.
pub(crate) fn throughput(work: impl Fn() + Sync) -> [f64; 2] {
    let mut best = [0.0_f64; 2];
    for _ in 0..ROUNDS {
        for (workers, best) in (1..).zip(&mut best) {
            *best = best.max(calls_per_second(workers, &work));
        }
    }
    best
}

fn calls_per_second(workers: usize, work: &(impl Fn() + Sync)) -> f64 {
    let start = Instant::now();
    let count: u32 = std::thread::scope(|scope| {
        let calls = || {
            let mut count = 0;
            while start.elapsed() < ROUND {
                work();
                count += 1;
            }
            count
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(calls)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    });
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What this process holds that no file backs, as the kernel counts it.
pub(crate) fn private_memory_kib() -> std::io::Result<u32> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| std::io::Error::other("`/proc/self/status` has no `RssAnon`"))
}
