//! What `snapshot status` says of a copy: the numbers of `etcdutl snapshot status`.

use std::path::Path;

use anyhow::Result;
use drystone_etcd_bolt::File;

use super::buckets::{self, parse_revision_key};
use super::crc32c::Crc32c;

/// The numbers of `etcdutl snapshot status`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// CRC-32C of all names of buckets, keys and values, in their order.
    hash: u32,
    /// That of the last record.
    revision: u64,
    /// Records in all buckets.
    total_key: u64,
    /// What the pages take.
    total_size: u64,
    /// Of the data; empty before 3.6.
    version: String,
}

impl Summary {
    /// Reads all of the file.
    ///
    /// # Errors
    ///
    /// If it is damaged, or no bbolt file.
    pub(crate) fn of(path: &Path) -> Result<Summary> {
        let file = File::open(path)?;
        let (mut hash, mut revision, mut total_key) = (Crc32c::default(), 0, 0);
        let mut version = String::new();
        for bucket in file.entries(&file.root()) {
            let bucket = bucket?;
            let name = &bucket.key[..];
            hash.update(name);
            let Some(inner) = &bucket.bucket else { continue };
            for entry in file.entries(inner) {
                let entry = entry?;
                hash.update(&entry.key);
                if entry.bucket.is_none() {
                    hash.update(&entry.value);
                }
                total_key += 1;
                if name == buckets::KEY.as_bytes() {
                    revision = parse_revision_key(&entry.key).map_or(0, |(at, _)| at.main);
                }
                let is_version = entry.key == buckets::META_STORAGE_VERSION.as_bytes();
                if name == buckets::META.as_bytes() && is_version {
                    version = String::from_utf8_lossy(&entry.value).into_owned();
                }
            }
        }
        Ok(Summary { hash: hash.0, revision, total_key, total_size: file.bytes(), version })
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and a text are JSON")
    }

    /// Values with commas between them.
    pub(crate) fn simple(&self) -> String {
        self.cells().map(|(_, value)| value).join(", ")
    }

    /// A table with a head.
    pub(crate) fn table(&self) -> String {
        let cells = self.cells();
        let widths = cells.each_ref().map(|(head, value)| head.len().max(value.len()));
        let rule: String =
            widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
        let row = |texts: [&str; 5]| -> String {
            let cell = |(text, width): (&str, &usize)| {
                let left = (width - text.len()) / 2;
                format!("| {}{text}{} ", " ".repeat(left), " ".repeat(width - left - text.len()))
            };
            texts.into_iter().zip(&widths).map(cell).collect()
        };
        let head = row(cells.each_ref().map(|(head, _)| *head));
        let values = row(cells.each_ref().map(|(_, value)| value.as_str()));
        format!("{rule}+\n{head}|\n{rule}+\n{values}|\n{rule}+")
    }

    fn cells(&self) -> [(&'static str, String); 5] {
        [
            ("HASH", format!("{:x}", self.hash)),
            ("REVISION", self.revision.to_string()),
            ("TOTAL KEYS", self.total_key.to_string()),
            ("TOTAL SIZE", size_text(self.total_size)),
            ("VERSION", self.version.clone()),
        ]
    }
}

/// A size as etcd's tools print it: in powers of a thousand, one decimal below ten.
fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut unit, mut scale) = (0, 1_u64);
    while unit + 1 < UNITS.len() && bytes / scale >= 1000 {
        (unit, scale) = (unit + 1, scale * 1000);
    }
    // To the nearest tenth, halves up.
    let tenths = (u128::from(bytes) * 20 + u128::from(scale)) / (2 * u128::from(scale));
    match tenths {
        0..100 => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        _ => {
            // From there as Go rounds: halves to the even neighbour.
            let (whole, rest) = (tenths / 10, tenths % 10);
            let up = rest > 5 || rest == 5 && whole % 2 == 1;
            format!("{} {}", whole + u128::from(up), UNITS[unit])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Scripts cut these columns.
    #[test]
    fn sizes_read_as_those_of_etcds_tools() {
        let of = |bytes, text: &str| assert_eq!(size_text(bytes), text);
        of(0, "0 B");
        of(999, "999 B");
        of(1000, "1.0 kB");
        of(20_480, "20 kB");
        of(2_101_248, "2.1 MB");
        of(9_949_999, "9.9 MB");
        of(82_854_982, "83 MB");
    }

    #[test]
    fn table_has_etcds_shape() {
        let version = "3.6.0".to_owned();
        let summary =
            Summary { hash: 0xcf55_9c79, revision: 7, total_key: 25, total_size: 65536, version };
        let table = "\
+----------+----------+------------+------------+---------+
|   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE | VERSION |
+----------+----------+------------+------------+---------+
| cf559c79 |    7     |     25     |   66 kB    |  3.6.0  |
+----------+----------+------------+------------+---------+";
        assert_eq!(summary.table(), table);
        assert_eq!(summary.simple(), "cf559c79, 7, 25, 66 kB, 3.6.0");
    }
}
