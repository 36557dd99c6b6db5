//! Draft.
mod agents;
mod deliver;
mod explore;
mod machines;
mod mail;
mod mutant;
mod names;
mod servers;
mod state;
mod store;
mod world;
use mason_core::spec::Concurrency;
use state::Budget;
use world::Config;
fn base() -> Config {
    Config {
        concurrency: Concurrency::Strict,
        tasks: 1,
        attempts: 2,
        budget: Budget { faults: 1, offices: 0, stops: 0, removals: 0 },
        mails: 2,
        sloppy: false,
        chatty: false,
        failures: true,
        oddities: false,
        offices_count: true,
        mutant: None,
    }
}
fn show(name: &str, config: Config) {
    let begun = std::time::Instant::now();
    let report = explore::explore(config, 2_000_000);
    println!(
        "{name}: {} states, {} agents, depth {}, complete {}, ends {}, {:?}",
        report.states,
        report.agents,
        report.depth,
        report.complete,
        report.ends,
        begun.elapsed()
    );
    if let Some((broken, trace)) = report.broken {
        println!("  {broken}");
        for (n, line) in trace.iter().enumerate() {
            println!("  {:3} {line}", n + 1);
        }
    }
}
#[test]
fn draft() {
    let mut c = base();
    c.budget.faults = 0;
    show("f0", c);
    c.budget.faults = 1;
    show("f1", c);
    c.budget.faults = 2;
    show("f2", c);
}
