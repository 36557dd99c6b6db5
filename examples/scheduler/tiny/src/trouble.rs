//! Applets that misbehave on purpose: for tests of limits, and of what is told about a death.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{sys, usage};

/// Keeps one processor busy for so many seconds.
pub(crate) fn burn(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    let seconds: f64 = number(words, "burn SECONDS")?;
    let span = Duration::try_from_secs_f64(seconds).map_err(|_| usage("burn SECONDS"))?;
    let start = Instant::now();
    let mut rounds = 0_u64;
    while start.elapsed() < span {
        for _ in 0..10_000 {
            rounds = std::hint::black_box(rounds.wrapping_add(1));
        }
    }
    writeln!(out, "burned {rounds}")?;
    Ok(0)
}

/// Touches so many bytes, a mebibyte at a time, and says so; with `hold`, keeps them.
pub(crate) fn eat_memory(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    const STEP: usize = 1 << 20;
    let text = "eat-memory SIZE [hold]";
    let size = words.first().and_then(|word| bytes(word)).ok_or_else(|| usage(text))?;
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    let mut left = size;
    while left > 0 {
        let step = left.min(STEP);
        // Not zero: pages of zeroes would be the kernel's one page, and nothing would be eaten.
        eaten.push(std::hint::black_box(vec![1; step]));
        left -= step;
    }
    writeln!(out, "ate {size}")?;
    out.flush()?;
    while words.get(1).is_some_and(|word| word == "hold") {
        std::thread::park();
    }
    Ok(0)
}

/// A number with K, M or G behind it, or none.
fn bytes(word: &str) -> Option<usize> {
    let unit = match word.as_bytes().last()? {
        b'K' => 1 << 10,
        b'M' => 1 << 20,
        b'G' => 1 << 30,
        _ => 1,
    };
    let digits = word.trim_end_matches(['K', 'M', 'G']);
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

/// Starts itself twice with one level less, and waits for both. Fails if a process is refused.
pub(crate) fn fork_bomb(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    let levels: u32 = number(words, "fork-bomb LEVELS")?;
    if levels == 0 {
        return Ok(0);
    }
    let own = std::env::current_exe()?;
    let mut children = Vec::new();
    let mut refused = None;
    for _ in 0..2 {
        let less = (levels - 1).to_string();
        match Command::new(&own).args(["fork-bomb", &less]).spawn() {
            Ok(child) => children.push(child),
            Err(error) => refused = Some(error),
        }
    }
    let mut code = 0;
    for mut child in children {
        code |= u8::from(!child.wait()?.success());
    }
    if let Some(error) = refused {
        writeln!(out, "refused: {error}")?;
        code = 1;
    }
    Ok(code)
}

/// Sends itself a signal; if it outlives that, ends with exit code 0.
pub(crate) fn kill_self(words: &[String], _: &mut dyn Write) -> io::Result<u8> {
    sys::signal_self(number(words, "kill-self SIGNAL")?)?;
    Ok(0)
}

/// Prints the number of each signal that it gets.
pub(crate) fn trap(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    let count: u64 = if words.is_empty() { u64::MAX } else { number(words, "trap [COUNT]")? };
    let signals = sys::Signals::hold()?;
    writeln!(out, "ready")?;
    out.flush()?;
    for _ in 0..count {
        writeln!(out, "signal {}", signals.wait()?)?;
        out.flush()?;
    }
    Ok(0)
}

/// Tells a file when it lives: `RUN INDEX begin|beat|end MILLISECONDS`, a line each time. Whoever
/// reads the file sees whether two copies lived at once. Each beat is counted on standard output.
pub(crate) fn beat(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    const PAUSE: Duration = Duration::from_millis(50);
    let text = "beat FILE SECONDS";
    let [path, seconds] = words else { return Err(usage(text)) };
    let seconds = seconds.parse().map_err(|_| usage(text))?;
    let span = Duration::try_from_secs_f64(seconds).map_err(|_| usage(text))?;
    let named = |name| std::env::var(name).unwrap_or_else(|_| "?".to_owned());
    let (run, index) = (named("MASON_RUN"), named("MASON_INDEX"));
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let mut tell = |what: &str| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        // One write a line: those of several writers do not mix.
        file.write_all(format!("{run} {index} {what} {now}\n").as_bytes())
    };
    tell("begin")?;
    let start = Instant::now();
    let mut count = 0_u64;
    while start.elapsed() < span {
        count += 1;
        writeln!(out, "beat {count}")?;
        out.flush()?;
        std::thread::sleep(PAUSE.min(span.saturating_sub(start.elapsed())));
        tell("beat")?;
    }
    tell("end")?;
    Ok(0)
}

/// Starts so many processes, each of which ends at once and whose parent has gone before. Fails if
/// the container's first process does not bury all of them.
pub(crate) fn orphans(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let count: u64 = number(words, "orphans COUNT")?;
    let own = std::env::current_exe()?;
    if words.get(1).is_some_and(|word| word == "parent") {
        for _ in 0..count {
            // Not waited for: it becomes the first process's child when this one ends.
            drop(Command::new(&own).args(["sleep", "0.05"]).spawn()?);
        }
        return Ok(0);
    }
    for at in (0..count).step_by(10) {
        let some = (count - at).min(10).to_string();
        Command::new(&own).args(["orphans", &some, "parent"]).status()?;
    }
    let start = Instant::now();
    loop {
        let others = processes()?.saturating_sub(2);
        if others == 0 {
            writeln!(out, "buried {count}")?;
            return Ok(0);
        }
        if start.elapsed() > PATIENCE {
            writeln!(out, "{others} are left")?;
            return Ok(1);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many processes there are, with the dead that nobody has buried.
fn processes() -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        count += usize::from(entry?.file_name().to_string_lossy().parse::<u32>().is_ok());
    }
    Ok(count)
}

fn number<T: std::str::FromStr>(words: &[String], text: &str) -> io::Result<T> {
    words.first().and_then(|word| word.parse().ok()).ok_or_else(|| usage(text))
}
