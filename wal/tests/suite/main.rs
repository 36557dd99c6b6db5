//! The log against a hostile disk, a model, and many threads.
//!
//! The faults have numbers, by which tests cite them; `docs/faults.md` says what each is, and what
//! must come of it. Here is which test stands for which; there are more.
//!
//! | fault | test |
//! |---|---|
//! | 1 | `tail::a_last_frame_that_landed_up_to_any_byte_is_cut_for_good` |
//! | 2 | `tail::a_frame_counts_only_if_all_its_sectors_were_written` |
//! | 3 | `tail::a_tail_of_zeros_is_the_end` |
//! | 4 | `tail::garbage_behind_the_end_is_cut` |
//! | 5 | `tail::a_sound_group_behind_a_lost_one_never_counts` |
//! | 6 | `damage::any_change_to_promised_bytes_is_corruption` |
//! | 7 | `last::any_flipped_bit_in_the_last_write_cuts_it` |
//! | 8 | `last::a_close_mark_or_a_known_lsn_turns_a_lost_tail_into_corruption` |
//! | 9 | `truncate::old_frames_in_a_recycled_segment_never_count` |
//! | 10 | `last::a_rotten_length_never_misleads` |
//! | 11 | `missing::a_missing_doubled_or_misplaced_segment_is_refused` |
//! | 12 | `rotation::no_record_is_acknowledged_before_its_segment_has_a_durable_name` |
//! | 13 | `rotation::a_crash_at_any_step_of_a_rotation_leaves_a_log` |
//! | 14 | `prefix::old_segments_may_be_removed_in_any_order` |
//! | 15 | `truncate::an_interrupted_cut_has_happened_or_has_not` |
//! | 16 | `syncs::a_failed_sync_poisons_every_waiter_and_all_that_come_after` |
//! | 17 | `syncs::a_write_that_lands_in_part_is_cut_on_reopening` |
//! | 18 | `space::a_full_disk_is_reported_and_survived` |
//! | 19 | `reads::an_unreadable_sector_is_an_error_not_the_end` |
//! | 20 | `clock::the_log_reads_no_clock` |
//! | 21 | `locks::every_path_to_the_log_is_locked` |
//! | 24 | `open::a_crash_while_a_log_is_first_made_leaves_none_or_an_empty_one` |
//! | 25 | `reads::a_future_version_is_unsupported_and_untouched` |
//! | 26 | `damage::a_sound_frame_in_the_wrong_place_is_corruption` |
//! | 27 | `open::foreign_files_are_left_alone` |
//! | 28 | `view::an_unclean_log_on_a_read_only_medium_is_read` |
//! | 45 | `twice::a_second_power_cut_in_recovery_changes_no_outcome` |
//! | 47 | `lies::a_lying_disk_is_detected_by_whoever_knows_the_last_lsn` |
//! | 48 | `hostile::hostile_headers_get_an_answer` |
//!
//! `SLOW=1` makes the random ones longer. Each prints the command that replays what failed.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod hurt;
mod ledger;
mod oracle;
mod spy;
mod support;

mod basics;
mod clock;
mod cost;
mod damage;
mod enumerate;
mod fuzz;
mod gate;
mod group;
mod harsh;
mod hostile;
mod inspect;
mod kernel;
mod last;
mod lean;
mod lies;
mod locks;
mod matrix;
mod missing;
mod model;
mod open;
mod outside;
mod prefix;
mod reads;
mod rotation;
mod salvage;
mod space;
mod stress;
mod syncs;
mod tail;
mod thrifty;
mod truncate;
mod twice;
mod view;
mod wakes;
