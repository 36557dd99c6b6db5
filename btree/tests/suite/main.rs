//! The database against a hostile disk, a model, other processes and forgers.
//!
//! The faults have numbers, by which tests cite them; `docs/faults.md` says what each is, and what
//! must come of it. Here is which test stands for which; there are more.
//!
//! | fault | test |
//! |---|---|
//! | 21 | `locks::every_path_to_the_database_is_locked` |
//! | 24 | `open::a_crash_while_a_database_is_first_made_leaves_none_or_an_empty_one` |
//! | 25 | `open::a_future_version_is_unsupported_and_untouched` |
//! | 26 | `damage::a_sound_page_in_the_wrong_place_is_corruption` |
//! | 27 | `open::foreign_files_are_left_alone` |
//! | 28 | `open::an_unclean_database_on_a_read_only_medium_is_read` |
//! | 38 | `torn::any_selection_of_a_records_sectors_leads_to_one_state_or_the_other` |
//! | 39 | `torn::any_selection_of_a_flushs_pages_leads_to_the_state_before` |
//! | 40 | `reuse::no_page_that_is_needed_is_written_over` |
//! | 41 | `reuse::a_crash_while_the_file_grows_or_shrinks_leaves_every_page_where_the_root_says` |
//! | 42 | `outside::a_file_cut_or_replaced_by_another_process_gives_errors_and_no_signal` |
//! | 43 | `damage::any_byte_may_rot` |
//! | 44 | `syncs::a_failed_flush_takes_all_that_was_built_on_it` |
//! | 45 | `torn::the_power_may_fail_again_after_a_torn_flush` |
//! | 46 | `leaks::a_panic_amid_a_transaction_takes_it_back` |
//! | 47 | `lies::a_lying_disk_is_detected_by_whoever_knows_the_last_transaction` |
//! | 48 | `hostile::mutated_files_get_an_answer` |
//!
//! `SLOW=1` makes the random ones longer. Each prints the command that replays what failed.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod forge;
mod oracle;
mod support;
mod tear;
mod witness;

mod basics;
mod bulk;
mod damage;
mod enumerate;
mod fuzz;
mod hostile;
mod journal;
mod kernel;
mod leaks;
mod lies;
mod locks;
mod matrix;
mod memory;
mod model;
mod open;
mod outside;
mod reuse;
mod space;
mod syncs;
mod torn;
