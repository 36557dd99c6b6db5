//! Scripts against what the module says of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

const STORY: &str = "\
# A story.

say hello
say \"two words\" loud=yes
----
hello
TWO WORDS

# Input, and output with air in it.
echo
< one
<
< two
----
----
one

two
----
----

say nothing=
----

# The end.
";

fn player(command: &Command) -> String {
    match command.name() {
        "say" => {
            let loud = command.option("loud") == Some("yes");
            let text = command.words().join(" ");
            if loud { text.to_uppercase() } else { text }
        }
        "echo" => command.input().join("\n"),
        _ => command.refuse("no such command"),
    }
}

fn play(text: &str) -> Played {
    Script::parse("story.txt", text).unwrap().play(player)
}

// `UPDATE=1` must leave alone what is right: stories, empty lines, rulers and all.
#[test]
fn a_script_that_is_right_comes_out_as_it_went_in() {
    let story = STORY.replace(" nothing=", "");
    let played = play(&story);
    assert_eq!(played.complaints(), [] as [String; 0]);
    assert_eq!(played.text(), story);
}

// The difference has to lead to its line, and the new text has to be right the next time.
#[test]
fn another_output_is_shown_with_its_line_and_can_be_taken() {
    let story = STORY.replace(" nothing=", "").replace("\nTWO WORDS\n", "\ntwo words\nmore\n");
    let played = play(&story.replace("\n\ntwo\n----", "\none\n----"));
    assert_eq!(played.complaints().len(), 2);
    assert_eq!(
        played.complaints()[0],
        "story.txt:7: prints something else (- written, + printed, UPDATE=1 takes it)\n    \
         hello\n  - two words\n  - more\n  + TWO WORDS\n"
    );
    assert_eq!(played.text(), STORY.replace(" nothing=", ""));
    assert_eq!(play(played.text()).complaints(), [] as [String; 0]);
}

// A misspelled option would otherwise test nothing for years.
#[test]
fn what_no_player_reads_is_a_complaint() {
    let played = play("say hello lod=yes\n< input\n----\nhello\n");
    let expected = [
        "story.txt:1: `lod=yes` means nothing to `say`",
        "story.txt:1: `< input` means nothing to `say`",
    ];
    assert_eq!(played.complaints(), expected);
    assert_eq!(play(STORY).complaints().len(), 1);
}

// Whoever writes a script by hand needs the line.
#[test]
fn a_malformed_script_is_refused_with_its_line() {
    let check = |text: &str, expected: &str| {
        let error = Script::parse("x.txt", text).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check("# x\n----\n", "x.txt:2: there is no command above the ruler");
    check("say a\n\nsay b\n", "x.txt:3: there is no ruler below the command");
    check("< a\n----\n", "x.txt:1: there is no command above the input");
    check("say \"a\n----\n", "x.txt:1: a quote does not end");
    check("say \"a\"b\n----\n", "x.txt:1: a quote ends within a word");
    check("say \"\\t\"\n----\n", "x.txt:1: only \\\", \\\\ and \\n are known in quotes");
    check("a=b\n----\n", "x.txt:1: a command begins with its name");
    check(
        "say\n----\n----\nx\n----\n\n",
        "x.txt:2: a doubled ruler has no doubled ruler below the output",
    );
}

// What a player asks for is what is written, or an error that names the place.
#[test]
fn words_options_and_numbers_are_read_as_written() {
    let text = "go 7 fast to=n2 \"a \\\"b\\\"\\n\\\\\" empty=\"\" path=a=b\n----\n";
    let script = Script::parse("x.txt", text).unwrap();
    let played = script.play(|command| {
        assert_eq!((command.name(), command.line(), command.count()), ("go", 1, 3));
        assert_eq!((command.number::<u8>(0), command.word(2)), (7, "a \"b\"\n\\"));
        assert!(command.has("fast") && !command.has("slow"));
        assert_eq!((command.option("to"), command.option("from")), (Some("n2"), None));
        assert_eq!((command.option("empty"), command.option("path")), (Some(""), Some("a=b")));
        String::new()
    });
    assert_eq!(played.complaints(), [] as [String; 0]);

    let played = script.play(|command| command.args().join("|"));
    assert!(played.text().ends_with("\n----\n7|fast|to=n2|a \"b\"\n\\|empty=|path=a=b\n"));
    assert_eq!(played.complaints().len(), 1, "{:?}", played.complaints());

    let message = |call: fn(&Command) -> bool| {
        let play = || {
            script.play(|command| {
                call(command);
                String::new()
            })
        };
        let panic = catch_unwind(AssertUnwindSafe(play)).unwrap_err();
        panic.downcast_ref::<String>().unwrap().split(": go").next().unwrap().to_owned()
    };
    assert_eq!(message(|command| command.word(3).is_empty()), "x.txt:1: word 4 is missing");
    assert_eq!(message(|command| command.number::<u8>(1) == 0), "x.txt:1: `fast` is no u8");
    assert_eq!(
        message(|command| command.option_as::<u64>("to").is_none()),
        "x.txt:1: `n2` is no u64"
    );
}
