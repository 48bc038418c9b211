//! Arrivals, by counts with fixed seeds.

#![allow(clippy::unwrap_used)]

use super::*;

fn rate(rate: f64, process: Process, seconds: u64) -> PhaseRate {
    PhaseRate { rate, process, duration: Duration::from_secs(seconds) }
}

fn sine(amplitude: f64, seconds: u64) -> Process {
    Process::Sine { amplitude, period: Duration::from_secs(seconds) }
}

fn arrivals(rate: &PhaseRate, seed: u64) -> Vec<Duration> {
    Arrivals::new(rate, seed, 0, 0).collect()
}

/// As many as expected, within 5 standard deviations, and in order within the phase.
fn check(rate: &PhaseRate) {
    let times = arrivals(rate, 11);
    let off = times.len() as f64 - rate.expected();
    assert!(off.abs() <= 5.0 * rate.expected().sqrt(), "{rate:?} {off}");
    assert!(times.is_sorted());
    assert!(times.last().is_none_or(|last| *last < rate.duration));
}

#[test]
fn there_are_as_many_as_the_rate_says() {
    check(&rate(1_000.0, Process::Constant, 20));
    check(&rate(1_000.0, Process::Poisson, 20));
    check(&rate(1_000.0, sine(0.8, 7), 20));
    check(&rate(1_000.0, Process::Steps(vec![500.0, 0.0, 2_500.0]), 30));
    check(&rate(0.3, Process::Poisson, 10));
    check(&rate(0.0, Process::Poisson, 10));
    check(&rate(1e-300, Process::Poisson, 10));
    check(&rate(1e-300, Process::Constant, 10));
    check(&rate(0.0, Process::Steps(vec![0.0]), 10));
}

#[test]
fn equal_distances_are_equal_to_the_nanosecond() {
    let times = arrivals(&rate(3.0, Process::Constant, 1_000), 1);
    assert_eq!(times.len(), 2_999);
    assert_eq!(times[2], Duration::from_secs(1));
    assert_eq!(times[2_996], Duration::from_secs(999));
}

#[test]
fn independent_arrivals_vary_as_poisson_says() {
    let times = arrivals(&rate(1_000.0, Process::Poisson, 100), 5);
    let mut counts = vec![0_f64; 1_000];
    times.iter().for_each(|at| counts[(at.as_millis() / 100) as usize] += 1.0);
    let mean = counts.iter().sum::<f64>() / 1_000.0;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 999.0;
    // Of 1,000 counts the ratio has a standard deviation of sqrt(2 / 999), 0.045.
    assert!((variance / mean - 1.0).abs() < 0.2, "{}", variance / mean);
}

#[test]
fn a_shape_has_its_rates_where_they_belong() {
    let count = |times: &[Duration], from: u64, to: u64| {
        let within = |at: &&Duration| (from..to).contains(&at.as_secs());
        times.iter().filter(within).count() as f64
    };
    let steps = arrivals(&rate(0.0, Process::Steps(vec![100.0, 1_000.0, 100.0]), 30), 2);
    for (from, to, expected) in [(0, 10, 1_000.0), (10, 20, 10_000.0), (20, 30, 1_000.0_f64)] {
        let off = count(&steps, from, to) - expected;
        assert!(off.abs() < 5.0 * expected.sqrt(), "{from} {off}");
    }
    let sine = arrivals(&rate(1_000.0, sine(1.0, 20), 20), 2);
    // The upper half has 1 + 2/pi of the mean.
    let off = count(&sine, 0, 10) - 10_000.0 * (1.0 + 2.0 / std::f64::consts::PI);
    assert!(off.abs() < 650.0, "{off}");
}

#[test]
fn the_same_seed_gives_the_same_times_and_another_phase_others() {
    let rate = rate(100.0, Process::Poisson, 10);
    assert_eq!(arrivals(&rate, 3), arrivals(&rate, 3));
    assert_ne!(arrivals(&rate, 3), arrivals(&rate, 4));
    let of = |phase, part| Arrivals::new(&rate, 3, phase, part).collect::<Vec<_>>();
    assert_ne!(of(0, 0), of(1, 0));
    assert_ne!(of(0, 0), of(0, 1));
}
