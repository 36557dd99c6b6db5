//! What the random tests of this crate have in common.

/// The seeds to run: `SEED=n` alone, or `count` of them, a hundred times as many if `SLOW=1`. Each is
/// printed with the command that replays it, which the test harness shows if the test fails.
pub(crate) fn seeds(filter: &str, count: u64) -> impl Iterator<Item = u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let range = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None if number("SLOW") == Some(1) => 0..count * 100,
        None => 0..count,
    };
    range.inspect(move |seed| println!("replay: SEED={seed} cargo test -p drystone-lsm {filter}"))
}
