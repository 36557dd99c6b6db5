//! The reader against logs that are whole, rotated, damaged and being written.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mason_shim::log::{Limits, Writer, segment::Segment};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const SMALL: Limits = Limits { segment_bytes: 300, total_bytes: 1200 };
const LONG: Duration = Duration::from_secs(20);

fn read(mut cursor: Cursor) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = cursor.read().unwrap() {
        let over = event == Event::End;
        events.push(event);
        if over {
            break;
        }
    }
    events
}

fn text(events: &[Event]) -> String {
    let bytes = events.iter().filter_map(|event| match event {
        Event::Output { bytes, .. } => Some(bytes.as_slice()),
        _ => None,
    });
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>().concat()).into_owned()
}

fn write_lines(folder: &Path, limits: Limits, count: u64) -> Writer {
    let mut writer = Writer::open(folder, limits).unwrap();
    for number in 0..count {
        let stream = if number % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
        writer.append(stream, 1000 + number, format!("line {number}\n").as_bytes());
    }
    writer
}

/// People ask for the last lines, with what was said on both streams in its order.
#[test]
fn tail_gives_the_last_lines_across_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = write_lines(folder.path(), SMALL, 40);
    let reader = Reader::new(folder.path().to_owned());
    for lines in [0, 1, 3, 10, 20] {
        let (events, cursor) = reader.tail(lines).unwrap();
        let expected: String = (40 - lines..40).map(|number| format!("line {number}\n")).collect();
        assert_eq!(text(&events), expected, "{lines} lines");
        assert_eq!(cursor.offset(), writer.end());
    }
    writer.append(Stream::Stdout, 1, b"no end");
    assert_eq!(text(&reader.tail(2).unwrap().0), "line 39\nno end");
    writer.append(Stream::Stdout, 1, b" yet\nand\nmore\n");
    assert_eq!(text(&reader.tail(3).unwrap().0), "no end yet\nand\nmore\n");
    assert_eq!(reader.tail_bytes(7, true).unwrap(), b"d\nmore\n");
}

/// A place keeps its meaning after rotation, and what is gone is told.
#[test]
fn offsets_survive_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = write_lines(folder.path(), SMALL, 5);
    let reader = Reader::new(folder.path().to_owned());
    let place = reader.from(0).read().unwrap();
    assert!(matches!(place, Some(Event::Output { offset: 0, time: 1000, .. })), "{place:?}");
    for number in 5..60 {
        writer.append(Stream::Stdout, 1000 + number, format!("line {number}\n").as_bytes());
    }
    writer.finish(2000);
    let events = read(reader.from(0));
    let Event::Gone { offset: 0, bytes } = events[0] else { panic!("{:?}", events[0]) };
    assert_eq!(bytes, Segment::list(folder.path()).unwrap()[0].base);
    assert_eq!(events.last(), Some(&Event::End));
    assert!(text(&events).ends_with("line 58\nline 59\n"));
    let Event::Output { offset, .. } = events[3] else { panic!("{:?}", events[3]) };
    assert_eq!(read(reader.from(offset)), events[3..]);
    assert_eq!(text(&read(reader.since(1058).unwrap())), "line 58\nline 59\n");
}

/// Damage costs what it hit and no more, and is told by file and offset.
#[test]
fn a_damaged_frame_is_told_and_skipped() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("replay with SEED={seed} cargo test -p mason-node log::");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..200 {
        let folder = tempfile::tempdir().unwrap();
        write_lines(folder.path(), SMALL, 30).finish(1);
        let reader = Reader::new(folder.path().to_owned());
        let whole = read(reader.oldest().unwrap());
        let segments = Segment::list(folder.path()).unwrap();
        let segment = &segments[random.random_range(0..segments.len())];
        let mut bytes = fs::read(&segment.path).unwrap();
        let at = random.random_range(0..bytes.len());
        let len = random.random_range(1..40).min(bytes.len() - at);
        let before = bytes.clone();
        random.fill_bytes(&mut bytes[at..at + len]);
        if bytes == before {
            continue;
        }
        fs::write(&segment.path, &bytes).unwrap();
        let events = read(reader.oldest().unwrap());
        let damaged: Vec<_> =
            events.iter().filter(|event| matches!(event, Event::Damaged { .. })).collect();
        let is_tail = segment == segments.last().unwrap();
        assert!(!damaged.is_empty() || is_tail, "bytes {at}..{} of {segment:?}", at + len);
        for event in &damaged {
            let Event::Damaged { file, offset, .. } = event else { unreachable!() };
            assert_eq!((file, *offset >= segment.base), (&segment.path, true));
        }
        for event in &events {
            let told = matches!(event, Event::Damaged { .. });
            assert!(told || whole.contains(event), "{event:?} was never written");
        }
        let lost = whole.len() - events.iter().filter(|event| whole.contains(event)).count();
        assert!(at < 24 || lost <= 1 + len / 30 + 1, "{lost} of {} lost", whole.len());
    }
}

/// What a container prints can look like a frame; it is none.
#[test]
fn output_cannot_forge_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(folder.path(), Limits::default()).unwrap();
    writer.append(Stream::Stdout, 1, b"real\n");
    let path = Segment::list(folder.path()).unwrap()[0].path.clone();
    let forged = fs::read(&path).unwrap()[24..].to_vec();
    writer.append(Stream::Stdout, 2, &forged);
    let end = writer.end();
    writer.append(Stream::Stdout, 3, b"last\n");
    let mut bytes = fs::read(&path).unwrap();
    // The head of the second frame, so that the reader looks for its way in what was printed.
    bytes[24 + 29 + 5] ^= 1;
    fs::write(&path, bytes).unwrap();
    let events = read(Reader::new(folder.path().to_owned()).from(0));
    assert_eq!(text(&events), "real\nlast\n");
    let file = path;
    assert_eq!(events[1], Event::Damaged { file, offset: 29, bytes: end - 29 });
}

/// A follower sees each line soon after it is printed, through rotation, and then the end.
#[test]
fn a_follower_sees_all_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 500, total_bytes: 1 << 20 };
    let mut cursor = Reader::new(folder.path().join("log")).from(0);
    let path = folder.path().join("log");
    assert!(cursor.follow(LONG).is_err(), "there is no such log");
    fs::create_dir(&path).unwrap();
    let printer = std::thread::spawn(move || {
        write_lines(&path, limits, 500).finish(1);
    });
    let mut events = Vec::new();
    loop {
        let event = cursor.follow(LONG).unwrap().expect("it goes on");
        if event == Event::End {
            break;
        }
        events.push(event);
    }
    printer.join().unwrap();
    let expected: String = (0..500).map(|number| format!("line {number}\n")).collect();
    assert_eq!(text(&events), expected);
}

/// A follower that has read half a frame must not glue another's bytes to it.
#[test]
fn a_follower_survives_a_torn_frame_that_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    drop(write_lines(folder.path(), Limits::default(), 2));
    let path = Segment::list(folder.path()).unwrap()[0].path.clone();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let mut cursor = Reader::new(folder.path().to_owned()).from(0);
    assert_eq!(text(&[cursor.read().unwrap().unwrap()]), "line 0\n");
    assert_eq!(cursor.read().unwrap(), None);
    let mut writer = Writer::open(folder.path(), Limits::default()).unwrap();
    writer.append(Stream::Note, 5, b"its keeper was killed\n");
    writer.finish(5);
    assert_eq!(text(&read(cursor)), "its keeper was killed\n");
}
