//! What a group agrees on: the state machine under test.

use std::fmt::Debug;

use bytes::Bytes;

/// A state machine of yours, to be run by a simulated group.
///
/// Its commands are bytes, as in production. It must be deterministic: the members apply the same
/// commands in the same order, and the simulation compares what they hold.
pub trait StateMachine: Clone + Debug + Default + PartialEq {
    /// Applies the command at `index`.
    fn apply(&mut self, index: u64, command: &Bytes);
    /// All of it, as bytes for a snapshot.
    fn save(&self) -> Vec<u8>;
    /// The state that was saved so; nothing if these are other bytes.
    fn load(bytes: &[u8]) -> Option<Self>;
}

/// Lists of numbers under small keys, each appended value told apart from all others: the machine
/// that shows most with the fewest operations (see [`drystone_sim::linear`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    lists: [Vec<u32>; KEYS],
}

/// How many lists there are.
pub const KEYS: usize = 4;

impl Lists {
    /// The command that appends `value` to list `key`, made longer by `padding` bytes.
    pub fn append(key: u8, value: u32, padding: usize) -> Bytes {
        let mut command = vec![key];
        command.extend_from_slice(&value.to_le_bytes());
        command.resize(5 + padding, 0);
        command.into()
    }

    /// A list.
    pub fn read(&self, key: u8) -> &[u32] {
        &self.lists[usize::from(key) % KEYS]
    }
}

impl StateMachine for Lists {
    fn apply(&mut self, _index: u64, command: &Bytes) {
        let key = usize::from(command[0]) % KEYS;
        let value: [u8; 4] = command[1..5].try_into().expect("a command has five bytes");
        self.lists[key].push(u32::from_le_bytes(value));
    }

    fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for list in &self.lists {
            let count = u32::try_from(list.len()).expect("a list is in memory");
            bytes.extend_from_slice(&count.to_le_bytes());
            list.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        }
        bytes
    }

    fn load(bytes: &[u8]) -> Option<Lists> {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
        let mut lists = Lists::default();
        for list in &mut lists.lists {
            let count = words.next()?;
            *list = (0..count).map(|_| words.next()).collect::<Option<_>>()?;
        }
        (rest.is_empty() && words.next().is_none()).then_some(lists)
    }
}
