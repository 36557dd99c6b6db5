//! The plain applets: each does one small thing as the well-known program of its name does.

use std::io::{self, Write};
use std::time::Duration;

use crate::usage;

pub(crate) fn echo(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    let (words, end) = match words.split_first() {
        Some((first, rest)) if first == "-n" => (rest, ""),
        _ => (words, "\n"),
    };
    write!(out, "{}{end}", words.join(" "))?;
    Ok(0)
}

pub(crate) fn cat(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    if words.is_empty() {
        io::copy(&mut io::stdin().lock(), out)?;
    }
    for path in words {
        let file = std::fs::File::open(path);
        let mut file = file.map_err(|error| io::Error::other(format!("{path}: {error}")))?;
        io::copy(&mut file, out)?;
    }
    Ok(0)
}

pub(crate) fn env(_: &[String], out: &mut dyn Write) -> io::Result<u8> {
    for (name, value) in std::env::vars_os() {
        writeln!(out, "{}={}", name.to_string_lossy(), value.to_string_lossy())?;
    }
    Ok(0)
}

pub(crate) fn exit(words: &[String], _: &mut dyn Write) -> io::Result<u8> {
    words.first().and_then(|word| word.parse().ok()).ok_or_else(|| usage("exit N (0 to 255)"))
}

pub(crate) fn yes_indeed(_: &[String], _: &mut dyn Write) -> io::Result<u8> {
    Ok(0)
}

pub(crate) fn no(_: &[String], _: &mut dyn Write) -> io::Result<u8> {
    Ok(1)
}

pub(crate) fn hostname(_: &[String], out: &mut dyn Write) -> io::Result<u8> {
    write!(out, "{}", std::fs::read_to_string("/proc/sys/kernel/hostname")?)?;
    Ok(0)
}

pub(crate) fn id(_: &[String], out: &mut dyn Write) -> io::Result<u8> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let numbers = |name: &str| -> Vec<&str> {
        line(name).map(|rest| rest.split_whitespace().collect()).unwrap_or_default()
    };
    // Real, effective, saved, file system: the effective one is what counts.
    let second = |name: &str| numbers(name).get(1).copied().unwrap_or("?").to_owned();
    let groups = numbers("Groups:").join(",");
    writeln!(out, "uid={} gid={} groups={groups}", second("Uid:"), second("Gid:"))?;
    Ok(0)
}

pub(crate) fn ls(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    let folder = words.first().map_or(".", String::as_str);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names {
        writeln!(out, "{name}")?;
    }
    Ok(0)
}

pub(crate) fn pwd(_: &[String], out: &mut dyn Write) -> io::Result<u8> {
    writeln!(out, "{}", std::env::current_dir()?.display())?;
    Ok(0)
}

pub(crate) fn seq(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    let numbers: Option<Vec<i64>> = words.iter().map(|word| word.parse().ok()).collect();
    let (first, last) = match numbers.as_deref() {
        Some([last]) => (1, *last),
        Some([first, last]) => (*first, *last),
        _ => return Err(usage("seq [FIRST] LAST")),
    };
    for number in first..=last {
        writeln!(out, "{number}")?;
    }
    Ok(0)
}

pub(crate) fn sleep(words: &[String], _: &mut dyn Write) -> io::Result<u8> {
    let text = "sleep SECONDS";
    let seconds = words.first().and_then(|word| word.parse::<f64>().ok());
    let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    std::thread::sleep(span.ok_or_else(|| usage(text))?);
    Ok(0)
}

pub(crate) fn write(words: &[String], _: &mut dyn Write) -> io::Result<u8> {
    let [path, text] = words else { return Err(usage("write FILE TEXT")) };
    std::fs::write(path, format!("{text}\n"))?;
    Ok(0)
}

pub(crate) fn yes(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    const MOST: u64 = 1_000_000;
    let count = words.first().map_or(Ok(MOST), |word| word.parse());
    let count = count.map_err(|_| usage("yes [COUNT] [WORD]"))?;
    let word = words.get(1).map_or("y", String::as_str);
    for _ in 0..count.min(MOST) {
        writeln!(out, "{word}")?;
    }
    Ok(0)
}
