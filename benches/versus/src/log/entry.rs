//! The smallest entry that `raft-engine` accepts: an index and some bytes, as Protocol Buffers.

use std::any::Any;

use protobuf::reflect::MessageDescriptor;
use protobuf::well_known_types::BytesValue;
use protobuf::{
    Clear, CodedInputStream, CodedOutputStream, Message, ProtobufResult, UnknownFields,
};

/// ```proto
/// message Entry { uint64 index = 1; bytes data = 2; }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Place in its region; one more than that of the entry before.
    pub index: u64,
    /// The record.
    pub data: Vec<u8>,
    unknown: UnknownFields,
}

impl Entry {
    /// One that holds `data`.
    #[must_use]
    pub fn new(index: u64, data: &[u8]) -> Entry {
        Entry { index, data: data.to_vec(), ..Entry::default() }
    }
}

impl Clear for Entry {
    fn clear(&mut self) {
        self.index = 0;
        self.data.clear();
        self.unknown.clear();
    }
}

impl Message for Entry {
    fn descriptor(&self) -> &'static MessageDescriptor {
        // Only asked for the name, when a required field is missing; there is none.
        BytesValue::descriptor_static()
    }

    fn is_initialized(&self) -> bool {
        true
    }

    fn merge_from(&mut self, is: &mut CodedInputStream<'_>) -> ProtobufResult<()> {
        while !is.eof()? {
            let (field, wire_type) = is.read_tag_unpack()?;
            match field {
                1 => self.index = is.read_uint64()?,
                2 => is.read_bytes_into(&mut self.data)?,
                _ => protobuf::rt::read_unknown_or_skip_group(
                    field,
                    wire_type,
                    is,
                    &mut self.unknown,
                )?,
            }
        }
        Ok(())
    }

    fn write_to_with_cached_sizes(&self, os: &mut CodedOutputStream<'_>) -> ProtobufResult<()> {
        os.write_uint64(1, self.index)?;
        os.write_bytes(2, &self.data)?;
        os.write_unknown_fields(&self.unknown)
    }

    fn compute_size(&self) -> u32 {
        use protobuf::rt;
        let index = rt::value_size(1, self.index, protobuf::wire_format::WireTypeVarint);
        index + rt::bytes_size(2, &self.data) + rt::unknown_fields_size(&self.unknown)
    }

    fn get_cached_size(&self) -> u32 {
        self.compute_size()
    }

    fn get_unknown_fields(&self) -> &UnknownFields {
        &self.unknown
    }

    fn mut_unknown_fields(&mut self) -> &mut UnknownFields {
        &mut self.unknown
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn new() -> Entry {
        Entry::default()
    }

    fn default_instance() -> &'static Entry {
        static INSTANCE: std::sync::OnceLock<Entry> = std::sync::OnceLock::new();
        INSTANCE.get_or_init(Entry::default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that is fed garbage would be measured doing something else.
    #[test]
    fn entries_survive_the_round_trip() {
        for len in [0, 1, 127, 128, 4096] {
            let entry = Entry::new(1 << 40, &vec![7; len]);
            let bytes = entry.write_to_bytes().unwrap();
            assert_eq!(bytes.len(), entry.compute_size() as usize);
            assert_eq!(Entry::parse_from_bytes(&bytes).unwrap(), entry);
        }
    }
}
