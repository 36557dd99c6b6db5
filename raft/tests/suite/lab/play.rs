//! Plays golden scripts on a bench.

use drystone_raft::{
    Change, Config, Configuration, Input, Lease, Message, NodeId, ReadMode, WriteId,
};
use drystone_sim::script::{self, Command};

use super::{Disk, Lab, kind, story};

/// Plays a script of `tests/scripts`, on a bench of its own.
pub(crate) fn play(name: &str) {
    let mut bench: Option<Lab> = None;
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    script::file(path.join(name).with_extension("txt"), move |command| {
        if command.name() == "group" {
            bench = Some(group(command));
            return String::new();
        }
        let lab = bench.as_mut().unwrap_or_else(|| command.refuse("a group comes first"));
        let shown = perform(lab, command);
        let mut text = lab.events.drain(..).collect::<Vec<_>>().join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text + &shown
    });
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(',').filter(|word| !word.is_empty()).map(|word| word.parse().unwrap()).collect()
}

/// `group 1 2 3 election=10`: voters with empty disks.
fn group(command: &Command) -> Lab {
    let mut config = Config::new(command.option_as("election").unwrap_or(10));
    config.pre_vote = command.option("prevote") != Some("off");
    config.check_quorum = command.option("checkquorum") != Some("off");
    let drift_ppm = command.option_as("drift").unwrap_or(0);
    config.lease = match command.option("lease") {
        None => None,
        Some("contact") => Some(Lease::Contact { drift_ppm }),
        Some("log") => Some(Lease::Log { drift_ppm }),
        Some(_) => command.refuse("a lease is held by contact or by log"),
    };
    if let Some(ticks) = command.option_as("stall") {
        config.storage_stall = ticks;
    }
    if let Some(messages) = command.option_as("window") {
        config.window_messages_max = messages;
    }
    if let Some(bytes) = command.option_as("message") {
        config.message_bytes_max = bytes;
    }
    let ids: Vec<NodeId> = command.words().iter().map(|word| word.parse().unwrap()).collect();
    let mut lab = Lab::new(config, &ids);
    lab.tells = true;
    lab
}

/// The messages that a command means: `from=`, `to=` and the kinds that it names.
fn chosen(command: &Command) -> impl Fn(&Message) -> bool + use<> {
    let from: Option<NodeId> = command.option_as("from");
    let to: Option<NodeId> = command.option_as("to");
    let kinds: Vec<String> = command.words().iter().map(|word| (*word).to_owned()).collect();
    move |message| {
        from.is_none_or(|id| id == message.from)
            && to.is_none_or(|id| id == message.to)
            && (kinds.is_empty() || kinds.iter().any(|name| name == kind(&message.body)))
    }
}

fn change(command: &Command) -> Change {
    command.words()[1..].iter().fold(Change::new(), |change, word| {
        let id = |text: &str| text.parse().unwrap();
        match (&word[..1], &word[1..]) {
            ("+", rest) => change.voter(id(rest)),
            ("-", rest) => change.remove(id(rest)),
            ("~", rest) => change.learner(id(rest)),
            _ => command.refuse("a change is +4, -4 or ~4"),
        }
    })
}

fn perform(lab: &mut Lab, command: &Command) -> String {
    let id = || command.number::<NodeId>(0);
    lab.tells_traffic = command.name() != "run";
    match command.name() {
        "node" => {
            let members = command.option("members").map_or(lab.ids(), numbers);
            let mut disk = Disk::new(Configuration::voters(members));
            disk = disk.with_log(&numbers(command.option("log").unwrap_or_default()));
            if let Some(term) = command.option_as("term") {
                disk.hard.term = drystone_raft::Term(term);
            }
            disk.hard.vote = command.option_as("vote");
            lab.seat(id(), disk);
        }
        "campaign" => lab.step(id(), vec![Input::Campaign]),
        "elect" => {
            lab.tells_traffic = false;
            lab.elect(id());
        }
        "propose" => {
            lab.propose(id(), command.word(1));
        }
        "read" => {
            let mode = match command.word(1) {
                "index" => ReadMode::Index,
                "lease" => ReadMode::Lease,
                "log" => ReadMode::Log,
                "stale" => ReadMode::Stale,
                _ => command.refuse("no such mode"),
            };
            lab.read(id(), mode);
        }
        "change" => {
            lab.change(id(), change(command));
        }
        "transfer" => {
            lab.transfer(id(), command.number(1));
        }
        "deliver" => {
            for message in lab.take(chosen(command)) {
                lab.deliver(message);
            }
        }
        "settle" => {
            lab.tells_traffic = false;
            lab.deliver_all();
        }
        "drop" => drop(lab.take(chosen(command))),
        "run" => lab.run(command.number(0)),
        "tick" => (0..command.number(0)).for_each(|_| lab.pass_tick()),
        "cut" => {
            lab.cut.insert((command.number(0), command.number(1)));
        }
        "part" => {
            let (left, right) = (numbers(command.word(0)), numbers(command.word(1)));
            lab.part(&left, &right);
        }
        "heal" => lab.heal(),
        "disk" => lab.at(id()).stores = command.word(1) == "auto",
        "store" => {
            let write = WriteId(command.number(1));
            lab.store(id(), write);
        }
        "crash" => lab.crash_keeping(id(), command.option_as("kept").unwrap_or(0)),
        "restart" => {
            lab.restart(id());
            lab.step(id(), Vec::new());
        }
        "compact" => {
            let through = drystone_raft::Index(command.number(1));
            let must =
                command.option_as("must").map_or(drystone_raft::Index(0), drystone_raft::Index);
            lab.step(id(), vec![Input::Compact { through, must }]);
        }
        "show" => {
            return lab.seats.iter().map(|(id, seat)| story::portrait(*id, &seat.raft)).collect();
        }
        "expect" => expect(lab, command),
        _ => command.refuse("no such command"),
    }
    String::new()
}

/// What a story claims: it fails even when its transcript is written anew.
fn expect(lab: &Lab, command: &Command) {
    match command.word(0) {
        "leader" => {
            let wanted = (command.word(1) != "none").then(|| command.number(1));
            assert_eq!(lab.leader(), wanted, "{}", command.text());
        }
        "commit" => assert_eq!(lab.raft(command.number(1)).commit().0, command.number::<u64>(2)),
        "term" => assert_eq!(lab.term(command.number(1)).0, command.number::<u64>(2)),
        "log" => {
            assert_eq!(lab.log(command.number(1)), numbers(command.word(2)), "{}", command.text());
        }
        "role" => assert_eq!(story::role(lab.raft(command.number(1))), command.word(2)),
        "answer" => {
            let ticket = drystone_raft::Ticket(command.number(2));
            let answer = lab.answer(command.number(1), ticket);
            let said = match answer {
                None => "none",
                Some(Ok(_)) => "done",
                Some(Err(_)) => "refused",
            };
            assert_eq!(said, command.word(3), "{}", command.text());
        }
        _ => command.refuse("nothing of the kind can be expected"),
    }
}
