//! The database against a hostile disk, a model, and many threads.
//!
//! The faults have numbers, by which tests cite them; `docs/faults.md` says what each is, and what
//! must come of it. Here is which test stands for which; there are more. The faults of the journal
//! and of the manifest's log are those of `drystone-wal`, whose suite answers for them.
//!
//! | fault | test |
//! |---|---|
//! | 20 | `clock::what_has_expired_never_returns_however_the_clock_leaps` |
//! | 21 | `locks::every_path_to_the_database_is_locked` |
//! | 22 | `manifest::a_flipped_byte_of_the_manifest_is_refused_or_harmless` |
//! | 23 | `manifest::the_newest_complete_list_of_files_counts` |
//! | 24 | `opening::a_crash_while_a_database_is_first_made_leaves_none_or_an_empty_one` |
//! | 25 | `opening::a_future_version_is_unsupported_and_untouched` |
//! | 26 | `opening::a_sound_table_in_the_wrong_place_is_corruption` |
//! | 27 | `opening::leftovers_are_removed_and_foreign_files_are_not` |
//! | 28 | `opening::an_unclean_database_on_a_read_only_medium_is_read` |
//! | 29 | `flushes::a_crash_at_any_step_of_a_flush_loses_nothing` |
//! | 30 | `compaction::a_crash_at_any_step_of_a_compaction_leaves_inputs_or_outputs` |
//! | 31 | `rot::a_rotten_byte_in_a_table_is_an_error_and_never_an_absent_key` |
//! | 32 | `rot::an_iterator_says_the_same_error_for_ever` |
//! | 33 | `keyspaces::a_batch_over_two_keyspaces_is_there_in_both_or_in_neither` |
//! | 34 | `deletes::a_deleted_key_does_not_return_through_flushes_and_compactions` |
//! | 35 | `ingest::a_crash_at_any_step_of_an_ingest_leaves_all_of_it_or_none` |
//! | 36 | `copies::a_copy_taken_while_others_write_is_one_moment` |
//! | 37 | `flushes::writers_are_told_when_flushes_fail_for_ever` |
//! | 45 | `lies::a_second_power_cut_in_recovery_changes_no_outcome` |
//! | 46 | `holders::a_panicking_operator_harms_the_call_alone` |
//! | 47 | `lies::a_lying_disk_costs_records_and_invents_none` |
//! | 48 | `hostile::hostile_tables_get_an_answer` |
//!
//! `SLOW=1` makes the random ones longer. Each prints the command that replays what failed.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod forge;
mod hurt;
mod oracle;
mod support;

mod clear;
mod clock;
mod compaction;
mod copies;
mod deletes;
mod enumerate;
mod flushes;
mod fuzz;
mod holders;
mod hostile;
mod ingest;
mod journal;
mod kernel;
mod keyspaces;
mod lies;
mod locks;
mod manifest;
mod matrix;
mod model;
mod opening;
mod pieces;
mod refusals;
mod rot;
mod threads;
