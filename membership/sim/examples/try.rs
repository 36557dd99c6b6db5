//! scratch
use drystone_membership::Config;
use drystone_membership_sim::{scenario::*, Drystone, Setup};
use drystone_sim::Rate;
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n: usize = args[2].parse().unwrap();
    let arg: u64 = args.get(3).map_or(0, |a| a.parse().unwrap());
    let mut config = Config::lan();
    if args.get(4).is_some_and(|a| a == "off") { config.lifeguard = drystone_membership::Lifeguard::OFF; }
    if args.get(4).is_some_and(|a| a == "nostream") { config.stream_probes = false; }
    let setup = Setup::new(n, config);
    let t = Instant::now();
    match &args[1][..] {
        "steady" => println!("{:?}", steady::steady::<Drystone>(&setup, 1, 60)),
        "spread" => for seed in 1..6 { for news in [spread::News::Leave, spread::News::Broadcast, spread::News::Metadata] {
            println!("{news:?} {:?}", spread::spread::<Drystone>(&setup, seed, news, Rate::percent(arg as u32))) }},
        "crash" => for seed in 1..6 { println!("{:?}", crash::crash::<Drystone>(&setup, seed)) },
        "loss" => println!("{:?}", loss::loss::<Drystone>(&setup, 1, Rate::percent(arg as u32), 600)),
        "anomaly" => for cell in anomaly::GRID { println!("{cell:?} {:?}", anomaly::anomaly::<Drystone>(&setup, 1, cell, 120)) },
        "rapid" => for fault in [rapid::Fault::FlipFlop, rapid::Fault::LossIn, rapid::Fault::LossOut] { println!("{fault:?} {:?}", rapid::rapid::<Drystone>(&setup, 1, fault, 120)) },
        "boot" => { let b = bootstrap::bootstrap::<Drystone>(&setup, 1, 60); println!("{:?} sizes {} bytes {}", b.all_after, b.sizes, b.bytes) },
        "speed" => { let mut s = speed::speed::<Drystone>(&setup, 1, Rate::percent(arg as u32)); let t = Instant::now(); let steps = s.run(60); println!("{} steps/s", steps as f64 / t.elapsed().as_secs_f64()) },
        "dbg" => { let mut c = drystone_membership_sim::Cluster::<Drystone>::warm(&setup, 1);
            for _ in 0..arg { let b = c.traffic(); c.run_for(1_000_000, &mut []); let d = c.traffic().since(&b);
              let (mut f, mut a, mut sus, mut gone, mut v) = (0,0,0,0,0);
              for (_, m) in c.world().processes() { let s = m.gossiper().swim().stats(); f += s.probes_failed; v += s.probes_void; a += s.accused; sus += m.gossiper().swim().others().filter(|o| o.state != drystone_membership::State::Alive).count(); gone += n - 1 - m.gossiper().swim().other_ids().count(); }
              println!("{d:?} failed {f} void {v} accused {a} suspects {sus} missing {gone}"); } }
        _ => panic!(),
    }
    println!("{:.1} s", t.elapsed().as_secs_f64());
}
