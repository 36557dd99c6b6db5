//! Which versions clients say they are.

use std::sync::OnceLock;

use http::HeaderMap;

use super::Counter;

/// Versions that are told apart. A client may say anything, and memory must not grow by it.
const VERSIONS_MAX: usize = 8;
const VERSION_BYTES_MAX: usize = 32;
const HEADER: &str = "client-api-version";

/// Calls by what clients say their version is. The first versions seen have places; the others
/// count as unknown, like those who say nothing.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    versions: [(OnceLock<Box<str>>, Calls); VERSIONS_MAX],
    unknown: Calls,
}

#[derive(Debug, Default)]
struct Calls {
    unary: Counter,
    streams: Counter,
}

impl Clients {
    /// Counts a call.
    pub(crate) fn count(&self, headers: &HeaderMap, is_unary: bool) {
        let said = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let calls = said.map_or(&self.unknown, |version| self.calls(version));
        if is_unary { &calls.unary } else { &calls.streams }.add(1);
    }

    fn calls(&self, version: &str) -> &Calls {
        if version.is_empty() || version.len() > VERSION_BYTES_MAX {
            return &self.unknown;
        }
        let place = self
            .versions
            .iter()
            .find(|(place, _)| **place.get_or_init(|| version.into()) == *version);
        place.map_or(&self.unknown, |(_, calls)| calls)
    }

    /// Version, whether unary or stream, and how many; none that never came.
    pub(crate) fn read(&self) -> impl Iterator<Item = (&str, &'static str, u64)> {
        let known =
            self.versions.iter().filter_map(|(place, calls)| Some((&**place.get()?, calls)));
        let all = known.chain([("unknown", &self.unknown)]);
        let each = all.flat_map(|(version, calls)| {
            let (unary, streams) = (calls.unary.value(), calls.streams.value());
            [(version, "unary", unary), (version, "stream", streams)]
        });
        each.filter(|(_, _, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A client that makes up a version a call must not fill the memory, nor the page.
    #[test]
    fn made_up_versions_are_unknown_once_the_places_are_taken() {
        let clients = Clients::default();
        for version in 0..100 {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, version.to_string().parse().unwrap());
            clients.count(&headers, version % 2 == 0);
        }
        let read: Vec<_> = clients.read().collect();
        assert_eq!(read.len(), VERSIONS_MAX + 2);
        assert_eq!(read[0], ("0", "unary", 1));
        assert_eq!(read.iter().map(|(_, _, count)| count).sum::<u64>(), 100);
    }
}
