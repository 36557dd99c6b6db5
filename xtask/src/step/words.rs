//! What a command prints: passed on at once, and what matters of it kept for the end.
//!
//! A run prints tens of thousands of lines, and whoever looks at one that failed sees the last of
//! them first. So what broke, in the words of whatever broke, is said again there.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How many complaints are kept, and how much of each.
const COMPLAINTS_MAX: usize = 4;
const COMPLAINT_LINES: usize = 5;
/// How many lines are kept of how it ended.
const LAST_LINES: usize = 8;
/// A line of a complaint is not longer than this, in characters.
const LINE_MAX: usize = 300;
/// How long is waited for lines that are on their way when the command has ended. A process that
/// it left behind may hold the pipe for good.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lines to be said again.
#[derive(Debug, Default)]
pub(crate) struct Words {
    complaints: Vec<Vec<String>>,
    last: VecDeque<String>,
}

impl Words {
    fn hear(&mut self, line: &str) {
        let line: String = line.chars().take(LINE_MAX).collect();
        let is_complaint = line.contains("panicked at")
            || ["error", "VIOLATION"].iter().any(|word| line.starts_with(word));
        if is_complaint && self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(vec![line.clone()]);
        } else if let Some(lines) = self.complaints.last_mut()
            && lines.len() < COMPLAINT_LINES
        {
            // One whose lines are still coming.
            lines.push(line.clone());
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The first complaints, and how it ended.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.complaints.iter().flatten().chain(&self.last).map(String::as_str)
    }
}

/// Hears a command.
pub(crate) struct Listener {
    words: Arc<Mutex<Words>>,
    ended: Receiver<()>,
}

impl Listener {
    /// Passes on whatever comes.
    pub(crate) fn new(pipe: PipeReader) -> Listener {
        let words = Arc::new(Mutex::new(Words::default()));
        let (end, ended) = channel();
        let heard = Arc::clone(&words);
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                // Nobody to read it is no reason to stop the command.
                let _ = std::io::stdout().write_all(&line);
                let text = String::from_utf8_lossy(&line);
                heard.lock().unwrap_or_else(PoisonError::into_inner).hear(text.trim_end());
                line.clear();
            }
            let _ = end.send(());
        });
        Listener { words, ended }
    }

    /// What was heard, once the command has ended.
    pub(crate) fn words(self) -> Words {
        let _ = self.ended.recv_timeout(PATIENCE);
        std::mem::take(&mut *self.words.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The reason stands in the midst of what a hundred other tests print.
    #[test]
    fn complaints_and_the_end_are_said_again() {
        let mut words = Words::default();
        let noise = |words: &mut Words| (0..50).for_each(|i| words.hear(&format!("noise {i}")));
        noise(&mut words);
        words.hear("thread 'a' panicked at src/a.rs:1:2:");
        words.hear("left: 1");
        words.hear("error: test failed");
        noise(&mut words);
        words.hear("the end");
        let lines: Vec<&str> = words.lines().collect();
        assert_eq!(
            lines[..3],
            ["thread 'a' panicked at src/a.rs:1:2:", "left: 1", "error: test failed"]
        );
        assert_eq!(lines[3..7], ["noise 0", "noise 1", "noise 2", "noise 3"]);
        assert_eq!(lines[7..].first(), Some(&"noise 43"));
        assert_eq!(lines.last(), Some(&"the end"));
    }
}
