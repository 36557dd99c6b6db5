//! A map that was cut, read back.

use std::collections::BTreeMap;

use super::*;

const PAGE_BYTES: usize = 4096;

/// Writes the map, giving out its lowest free pages, and reads back what a new process would.
fn written(map: &mut FreeMap, disk: &mut BTreeMap<u32, Box<[u8]>>) -> Result<FreeMap> {
    let free = map.free().clone();
    let mut at = FIRST_PAGE;
    let plan = map.plan(TxnId(1), |_| {
        let first = free.next(at, u32::MAX).expect("there is a free page");
        at = first + 1;
        Ok(Extent { first: PageId(first), pages: 1 })
    })?;
    for page in plan.pages {
        disk.insert(page.ptr.id.0, page.bytes);
    }
    let inside = |run: &Extent| run.first.0 + run.pages <= map.end();
    assert!(plan.changed.iter().all(inside), "a record lists no page behind its end");
    let page = |ptr: PagePtr| Ok(disk[&ptr.id.0].to_vec());
    let found =
        FreeMap::load(PAGE_BYTES, map.end(), &plan.directories, &plan.changed, page, |_| {
            panic!("the pages of the map are sound")
        });
    found.map_err(|()| unreachable!("no page is missing"))
}

// What is free behind the new end is in a chunk that was written before. Were that chunk kept, the
// record of the cut could not be read, and a process killed right after it could not open the file.
#[test]
fn a_map_that_was_cut_is_read_back_as_it_is() {
    let chunk = (chunk_words(PAGE_BYTES) * WORD_BITS) as u32;
    for (end, cut) in [(3000, 300), (3000, 299), (2 * chunk + 700, chunk + 5), (3 * chunk, 400)] {
        let (mut map, mut disk) = (FreeMap::new(PAGE_BYTES, FIRST_PAGE), BTreeMap::new());
        let mut check = |map: &mut FreeMap, what: &str| {
            let found = written(map, &mut disk).unwrap();
            let same = (0..end + 99).all(|at| found.free().contains(at) == map.free().contains(at));
            assert!(same, "{what}: {end} pages, cut to {cut}");
        };
        map.extend(end);
        let shreds = || (cut + 10..end - 10).step_by(10).chain(100..110);
        for at in shreds() {
            map.fill(at, 1, false);
        }
        check(&mut map, "shredded");
        for at in shreds() {
            map.fill(at, 1, true);
        }
        map.truncate(cut);
        check(&mut map, "cut");
        check(&mut map, "written once more");
        map.extend(end + 77);
        check(&mut map, "grown again");
    }
}
