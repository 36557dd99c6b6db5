//! The part of RocksDB's C interface that is needed, and a safe face for it.
//!
//! The functions are those of `rocksdb/c.h`, which keeps them stable from version to version.
//! Errors come back as strings that the caller frees.

#![expect(unsafe_code, reason = "RocksDB is spoken to in C")]

use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_void};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;

use anyhow::{Context as _, Result, bail};

use crate::storage::store::Op;

/// `rocksdb_lz4_compression`.
const LZ4: c_int = 4;

/// `rocksdb_block_based_table_data_block_index_type_binary_search_and_hash`.
const BINARY_SEARCH_AND_HASH: c_int = 1;

/// Something that lies behind a pointer and is none of ours to look into.
type Thing = *mut c_void;

unsafe extern "C" {
    fn rocksdb_options_create() -> Thing;
    fn rocksdb_options_destroy(options: Thing);
    fn rocksdb_options_set_create_if_missing(options: Thing, on: c_uchar);
    fn rocksdb_options_set_compression(options: Thing, kind: c_int);
    fn rocksdb_options_set_max_background_jobs(options: Thing, count: c_int);
    fn rocksdb_options_set_write_buffer_size(options: Thing, bytes: usize);
    fn rocksdb_options_set_level_compaction_dynamic_level_bytes(options: Thing, on: c_uchar);
    fn rocksdb_options_set_block_based_table_factory(options: Thing, table: Thing);
    fn rocksdb_block_based_options_create() -> Thing;
    fn rocksdb_block_based_options_destroy(table: Thing);
    fn rocksdb_block_based_options_set_block_cache(table: Thing, cache: Thing);
    fn rocksdb_block_based_options_set_filter_policy(table: Thing, filter: Thing);
    fn rocksdb_block_based_options_set_data_block_index_type(table: Thing, kind: c_int);
    fn rocksdb_filterpolicy_create_bloom_full(bits: f64) -> Thing;
    fn rocksdb_cache_create_lru(bytes: usize) -> Thing;
    fn rocksdb_cache_destroy(cache: Thing);

    fn rocksdb_open(options: Thing, path: *const c_char, error: *mut *mut c_char) -> Thing;
    fn rocksdb_close(db: Thing);
    fn rocksdb_free(of_c: Thing);
    fn rocksdb_flush(db: Thing, options: Thing, error: *mut *mut c_char);
    fn rocksdb_flush_wal(db: Thing, sync: c_uchar, error: *mut *mut c_char);
    fn rocksdb_property_int(db: Thing, name: *const c_char, value: *mut u64) -> c_int;
    fn rocksdb_flushoptions_create() -> Thing;
    fn rocksdb_flushoptions_destroy(options: Thing);

    fn rocksdb_writeoptions_create() -> Thing;
    fn rocksdb_writeoptions_destroy(options: Thing);
    fn rocksdb_writeoptions_set_sync(options: Thing, on: c_uchar);
    fn rocksdb_writebatch_create() -> Thing;
    fn rocksdb_writebatch_destroy(batch: Thing);
    fn rocksdb_writebatch_put(
        batch: Thing,
        key: *const c_char,
        key_len: usize,
        value: *const c_char,
        value_len: usize,
    );
    fn rocksdb_writebatch_delete(batch: Thing, key: *const c_char, len: usize);
    fn rocksdb_write(db: Thing, options: Thing, batch: Thing, error: *mut *mut c_char);

    fn rocksdb_readoptions_create() -> Thing;
    fn rocksdb_readoptions_destroy(options: Thing);
    fn rocksdb_get_pinned(
        db: Thing,
        options: Thing,
        key: *const c_char,
        len: usize,
        error: *mut *mut c_char,
    ) -> Thing;
    fn rocksdb_pinnableslice_value(pinned: Thing, len: *mut usize) -> *const c_char;
    fn rocksdb_pinnableslice_destroy(pinned: Thing);
    fn rocksdb_create_iterator(db: Thing, options: Thing) -> Thing;
    fn rocksdb_iter_destroy(iter: Thing);
    fn rocksdb_iter_seek(iter: Thing, key: *const c_char, len: usize);
    fn rocksdb_iter_next(iter: Thing);
    fn rocksdb_iter_valid(iter: Thing) -> c_uchar;
    fn rocksdb_iter_key(iter: Thing, len: *mut usize) -> *const c_char;
    fn rocksdb_iter_value(iter: Thing, len: *mut usize) -> *const c_char;
    fn rocksdb_iter_get_error(iter: Thing, error: *mut *mut c_char);
}

/// What the bench wants to be set; all else is RocksDB's default.
pub(super) struct Options {
    /// Of the block cache.
    pub(super) cache_bytes: usize,
    /// Of the filter, per key.
    pub(super) bloom_bits: f64,
    /// Flushes and compactions that run at a time.
    pub(super) background_jobs: c_int,
    /// When a memtable is full, if not at the default.
    pub(super) write_buffer_bytes: Option<usize>,
}

/// An open database.
pub(super) struct Db {
    db: NonNull<c_void>,
    read: Thing,
    /// Of writes without a sync, and with one.
    write: [Thing; 2],
}

// SAFETY: RocksDB's handles may be used by many threads at once; its option objects are only read
// here once they are made. `Iter` and what it points to stays on its thread.
unsafe impl Send for Db {}
// SAFETY: as above.
unsafe impl Sync for Db {}

impl Db {
    pub(super) fn open(path: &Path, options: &Options) -> Result<Db> {
        let path = CString::new(path.as_os_str().as_bytes()).context("a path has no zero byte")?;
        // SAFETY: every object is made here and handed to functions that want its kind. The filter
        // belongs to the table options from then on; of the cache they hold a share, so that ours
        // can be let go. The options are copied by `rocksdb_open` and let go after it.
        unsafe {
            let table = rocksdb_block_based_options_create();
            let cache = rocksdb_cache_create_lru(options.cache_bytes);
            rocksdb_block_based_options_set_block_cache(table, cache);
            let filter = rocksdb_filterpolicy_create_bloom_full(options.bloom_bits);
            rocksdb_block_based_options_set_filter_policy(table, filter);
            rocksdb_block_based_options_set_data_block_index_type(table, BINARY_SEARCH_AND_HASH);

            let all = rocksdb_options_create();
            rocksdb_options_set_create_if_missing(all, 1);
            rocksdb_options_set_compression(all, LZ4);
            rocksdb_options_set_max_background_jobs(all, options.background_jobs);
            rocksdb_options_set_level_compaction_dynamic_level_bytes(all, 1);
            if let Some(bytes) = options.write_buffer_bytes {
                rocksdb_options_set_write_buffer_size(all, bytes);
            }
            rocksdb_options_set_block_based_table_factory(all, table);
            let db = checked(|error| rocksdb_open(all, path.as_ptr(), error));
            rocksdb_options_destroy(all);
            rocksdb_block_based_options_destroy(table);
            rocksdb_cache_destroy(cache);

            let db = NonNull::new(db?).context("RocksDB opened nothing and gave no error")?;
            let write = [rocksdb_writeoptions_create(), rocksdb_writeoptions_create()];
            rocksdb_writeoptions_set_sync(write[1], 1);
            Ok(Db { db, read: rocksdb_readoptions_create(), write })
        }
    }

    fn db(&self) -> Thing {
        self.db.as_ptr()
    }

    /// Applies all at once; durable on return if `sync`.
    pub(super) fn write<'a>(&self, ops: impl Iterator<Item = Op<'a>>, sync: bool) -> Result<()> {
        // SAFETY: the batch is ours and copies the bytes it is shown; pointers and lengths are
        // those of slices that live through the call.
        unsafe {
            let batch = rocksdb_writebatch_create();
            for op in ops {
                match op {
                    Op::Put(key, value) => rocksdb_writebatch_put(
                        batch,
                        key.as_ptr().cast(),
                        key.len(),
                        value.as_ptr().cast(),
                        value.len(),
                    ),
                    Op::Delete(key) => {
                        rocksdb_writebatch_delete(batch, key.as_ptr().cast(), key.len());
                    }
                }
            }
            let options = self.write[usize::from(sync)];
            let outcome = checked(|error| rocksdb_write(self.db(), options, batch, error));
            rocksdb_writebatch_destroy(batch);
            outcome
        }
    }

    /// Shows the value of `key`; whether there is one.
    pub(super) fn get(&self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool> {
        // SAFETY: the key is a slice that lives through the call. The value lies where it says for
        // as long as it is pinned, and nobody writes there. (If `show` panics, it leaks.)
        unsafe {
            let pinned = checked(|error| {
                rocksdb_get_pinned(self.db(), self.read, key.as_ptr().cast(), key.len(), error)
            })?;
            if pinned.is_null() {
                return Ok(false);
            }
            show(bytes(|len| rocksdb_pinnableslice_value(pinned, len)));
            rocksdb_pinnableslice_destroy(pinned);
            Ok(true)
        }
    }

    /// An iterator, which stands nowhere yet.
    pub(super) fn iter(&self) -> Iter<'_> {
        // SAFETY: database and options are open, and outlive the iterator.
        let iter = unsafe { rocksdb_create_iterator(self.db(), self.read) };
        Iter { iter, db: PhantomData }
    }

    /// Writes the memtable to a table and waits for that.
    pub(super) fn flush(&self) -> Result<()> {
        // SAFETY: the options are made and let go here; to wait is their default.
        unsafe {
            let options = rocksdb_flushoptions_create();
            let outcome = checked(|error| rocksdb_flush(self.db(), options, error));
            rocksdb_flushoptions_destroy(options);
            outcome
        }
    }

    /// Makes the log durable.
    pub(super) fn sync_log(&self) -> Result<()> {
        // SAFETY: the database is open.
        unsafe { checked(|error| rocksdb_flush_wal(self.db(), 1, error)) }
    }

    /// A property that is a number.
    pub(super) fn property(&self, name: &str) -> Result<u64> {
        let c_name = CString::new(name).context("a name has no zero byte")?;
        let mut value = 0;
        // SAFETY: the name ends with a zero byte and the value is ours to write to.
        let outcome = unsafe { rocksdb_property_int(self.db(), c_name.as_ptr(), &raw mut value) };
        if outcome != 0 {
            bail!("RocksDB knows no {name}");
        }
        Ok(value)
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // SAFETY: all of it was made in `open` and nobody holds it any more: iterators borrow.
        unsafe {
            rocksdb_close(self.db());
            rocksdb_readoptions_destroy(self.read);
            for options in self.write {
                rocksdb_writeoptions_destroy(options);
            }
        }
    }
}

/// A place in a snapshot of the database.
pub(super) struct Iter<'a> {
    iter: Thing,
    db: PhantomData<&'a Db>,
}

impl Iter<'_> {
    /// Goes to the first key that is not below this one.
    pub(super) fn seek(&mut self, key: &[u8]) {
        // SAFETY: the iterator is open and the key lives through the call.
        unsafe { rocksdb_iter_seek(self.iter, key.as_ptr().cast(), key.len()) }
    }

    /// Goes on by one; to be called after a [`show`](Iter::show) that was true.
    pub(super) fn next(&mut self) {
        // SAFETY: the iterator is open; at its end it stays where it is.
        unsafe {
            if rocksdb_iter_valid(self.iter) != 0 {
                rocksdb_iter_next(self.iter);
            }
        }
    }

    /// Shows the pair it stands on; whether it stands on one.
    pub(super) fn show(&self, show: &mut dyn FnMut(&[u8], &[u8])) -> bool {
        // SAFETY: the iterator is open and stands on a pair, whose bytes stay until it moves,
        // which it cannot while it is borrowed.
        unsafe {
            if rocksdb_iter_valid(self.iter) == 0 {
                return false;
            }
            show(
                bytes(|len| rocksdb_iter_key(self.iter, len)),
                bytes(|len| rocksdb_iter_value(self.iter, len)),
            );
            true
        }
    }

    /// Whether it came to the end of the pairs or to an error.
    pub(super) fn outcome(&self) -> Result<()> {
        // SAFETY: the iterator is open.
        unsafe { checked(|error| rocksdb_iter_get_error(self.iter, error)) }
    }
}

impl Drop for Iter<'_> {
    fn drop(&mut self) {
        // SAFETY: it was made by `Db::iter`, and the database is still open.
        unsafe { rocksdb_iter_destroy(self.iter) }
    }
}

/// The bytes that a function of C points to.
///
/// # Safety
/// They must be there, as many as it says, and unchanged for `'a`.
unsafe fn bytes<'a>(read: impl FnOnce(*mut usize) -> *const c_char) -> &'a [u8] {
    let mut len = 0;
    let start = read(&raw mut len);
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller answers for it.
    unsafe { slice::from_raw_parts(start.cast(), len) }
}

/// Calls a function that says by a string what went wrong.
///
/// # Safety
/// The string, if there is one, must end with a zero byte and be the caller's to free.
unsafe fn checked<T>(call: impl FnOnce(*mut *mut c_char) -> T) -> Result<T> {
    let mut error: *mut c_char = ptr::null_mut();
    let value = call(&raw mut error);
    if error.is_null() {
        return Ok(value);
    }
    // SAFETY: the caller answers for it.
    let message = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
    // SAFETY: RocksDB allocated it and wants it back this way.
    unsafe { rocksdb_free(error.cast()) };
    bail!("RocksDB: {message}")
}
