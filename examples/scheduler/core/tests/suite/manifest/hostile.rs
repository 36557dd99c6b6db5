//! Texts that mean harm: each is refused, soon, with a reason.

use mason_core::manifest::{DEPTH_MAX, DOCUMENTS_MAX, Options, PROBLEMS_MAX, TEXT_BYTES_MAX, read};

use super::{refused, strict};

/// A job with these lines in it.
fn job(lines: &str) -> String {
    format!("kind: Job\nname: a\nimage: busybox\n{lines}\n")
}

#[track_caller]
fn refused_for(text: &str, path: &str, why: &str) {
    let problems = refused(text);
    let place = format!(": {path}: ");
    let hit = |line: &str| (path.is_empty() || line.contains(&place)) && line.contains(why);
    assert!(problems.lines().any(hit), "{path}: {why} is not in\n{problems}");
}

/// A server reads manifests of anybody: the size is looked at before anything else.
#[test]
fn more_than_a_megabyte_is_refused() {
    let text = job(&format!("args: [\"{}\"]", "x".repeat(TEXT_BYTES_MAX)));
    refused_for(&text, "", "bytes, more than 1048576");
    let fits = job(&format!("# {}", "x".repeat(TEXT_BYTES_MAX - 100)));
    strict(&fits).unwrap();
}

/// Nine lines can stand for a billion values.
#[test]
fn alias_bombs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let one = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![one; 10].join(", "));
    }
    refused_for(&job(&text), "", "stand for too much");
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 500].join(", "));
    refused_for(&job(&long), "", "stand for too much");
    refused_for(&job(&format!("b: &b x\na: [{}]", vec!["*b"; 2000].join(", "))), "", "aliases");
    refused_for(&job("a: &a [*a]"), "", "alias of itself");
    refused_for(&job("a: *nobody"), "", "no YAML");
}

/// What an anchor stands on is kept for its aliases, even if none comes; anchors in each other
/// would keep the same a hundred times.
#[test]
fn anchors_in_anchors_are_refused() {
    let open: String = (0..50).map(|level| format!("&a{level} [")).collect();
    let text = |many: usize| job(&format!("args: {open}{}{}", "x,".repeat(many), "]".repeat(50)));
    refused_for(&text(90_000), "", "an anchor too many");
    refused_for(&text(10), "args[0]", "must be text");
    let long = format!("args: {open}\"{}\"{}", "x".repeat(100_000), "]".repeat(50));
    refused_for(&job(&long), "", "an anchor too many");
}

/// Depth by aliases is depth, too: each level may hide ten.
#[test]
fn depth_bombs_are_refused() {
    for depth in [DEPTH_MAX + 1, 1000, 100_000] {
        let lists = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        refused_for(&job(&format!("args: {lists}")), "", "");
        let maps = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        refused_for(&maps, "", "");
        refused_for(&lists, "", "");
    }
    let block: String = (0..1000).map(|depth| format!("{}- \n", " ".repeat(depth))).collect();
    refused_for(&block, "", "nested deeper than 64");
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        text += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    refused_for(&job(&text), "", "nested deeper than 64");
}

/// Of two values of one key, readers take the first or the last; nobody can know which was meant.
#[test]
fn keys_that_come_twice_are_refused() {
    refused_for(&job("image: other"), "image", "twice");
    refused_for(&job("env: {A: 1, A: 2}"), "env.A", "twice");
    refused_for(
        "{\"kind\": \"Job\", \"name\": \"a\", \"image\": \"x\", \"image\": \"y\"}",
        "image",
        "twice",
    );
    refused_for(
        &job("env: [{name: A, value: 1}, {name: A, value: 2}]"),
        "env[1].name",
        "one of a kind",
    );
}

/// A tab is white space to people and not to YAML.
#[test]
fn tabs_are_refused_with_their_line() {
    refused_for("kind: Job\nname: a\ntask:\n\timage: busybox\n", "", "line 4");
}

/// What overflows must not wrap around into something small.
#[test]
fn huge_and_odd_numbers_are_refused() {
    for number in ["18446744073709551616", "1e999", "99999999999999999999999999999999999999999"] {
        refused_for(&job(&format!("priority: {number}")), "priority", "whole number");
        refused_for(&job(&format!("array: {number}")), "array", "whole number");
        refused_for(
            &job(&format!("resources: {{memory: {number}}}")),
            "resources.memory",
            "too large",
        );
        refused_for(
            &format!("{{\"kind\":\"Job\",\"name\":\"a\",\"image\":\"x\",\"array\":{number}}}"),
            "array",
            "",
        );
    }
    for number in [".nan", "NaN", ".inf", "-.inf", "0x10", "1_000"] {
        refused_for(
            &job(&format!("resources: {{cpu: {number}}}")),
            "resources.cpu",
            "no number of cores",
        );
        let retry = format!("retry: {{attempts: 2, backoff: {{factor: {number}}}}}");
        refused_for(&job(&retry), "retry.backoff.factor", "number from 1 to 100");
    }
    refused_for(&job("resources: {cpu: -500m}"), "resources.cpu", "negative");
    refused_for(&job("resources: {memory: -1}"), "resources.memory", "negative");
    refused_for(&job("timeout: -5s"), "timeout", "negative");
    refused_for(&job("timeout: 99999999999999999999999999999999999999999999d"), "timeout", "");
    refused_for(&job("array: -1"), "array", "whole number");
    refused_for(&job("array: 010"), "array", "whole number");
    refused_for(&job("array: 1.5"), "array", "whole number");
    refused_for(&job("array: \"5\""), "array", "not text");
}

/// A leader looks at each task that waits for another by its index, and for each at all that it
/// waits for: billions of looks, out of two lines.
#[test]
fn waits_beyond_all_bounds_are_refused() {
    let gated = |count: u32| format!("array: {count}\ndependsOn: [{{job: b, mode: index}}]");
    refused_for(&job(&gated(1_000_001)), "dependsOn", "at most 1000000, not 1000001");
    strict(&job(&gated(1_000_000))).unwrap();
    strict(&job("array: 2147483647\ndependsOn: [b]")).unwrap();
    let many: String = (0..101).map(|number| format!("b{number},")).collect();
    refused_for(&job(&format!("dependsOn: [{many}]")), "dependsOn", "more than 100 jobs");
}

/// A name becomes a part of keys and paths.
#[test]
fn names_and_labels_that_are_none_are_refused() {
    for name in ["..", "a/b", "A", "-a", "\"\"", "a.b", &"x".repeat(64), "\"a\\0b\"", "5"] {
        refused_for(&format!("kind: Job\nname: {name}\nimage: x\n"), "name", "");
        refused_for(&format!("kind: Job\nname: a\nnamespace: {name}\nimage: x\n"), "namespace", "");
    }
    refused_for(
        &format!("kind: Job\ngenerateName: {}\nimage: x\n", "x".repeat(54)),
        "generateName",
        "",
    );
    refused_for(&job("labels: {\"a b\": x}"), "labels[\"a b\"]", "a label is");
    refused_for(&job("labels: {a: \"x y\"}"), "labels.a", "value of a label");
    refused_for(&job("labels: {a: 5}"), "labels.a", "quotes");
    refused_for(&job("labels: {\"a/b/c\": x}"), "labels[\"a/b/c\"]", "");
}

/// Documents cost something each, even empty ones.
#[test]
fn ten_thousand_documents_are_refused() {
    refused_for(&"---\n".repeat(10_000), "", "document");
    refused_for(
        &"---\nkind: Namespace\nname: a\n".repeat(10_000),
        "",
        "one document more than 1000",
    );
    let objects: String = "{\"kind\":\"Namespace\",\"name\":\"a\"}\n".repeat(DOCUMENTS_MAX + 1);
    refused_for(&objects, "", "");
}

/// A text may be nothing but mistakes; the answer must stay readable.
#[test]
fn problems_are_counted_when_they_are_too_many() {
    let lines: String = (0..5000).map(|line| format!("unknown{line}: 1\n")).collect();
    let problems = read(&job(&lines), &Options::default()).unwrap_err();
    assert_eq!((problems.list.len(), problems.more), (PROBLEMS_MAX, 5000 - PROBLEMS_MAX));
}

/// Merging is plain reuse to its users: what stands beside it wins, and nothing else is merged.
#[test]
fn merge_keys_merge_and_do_nothing_else() {
    let text = "kind: Job\nname: a\ntask: &t {image: x, init: false}\n---\n\
                kind: Cron\nname: b\nschedule: '@daily'\njob:\n  \
                <<: {image: x, retry: 3}\n  retry: 2\n";
    let objects = strict(text).unwrap();
    let json = super::told(&objects[1]);
    assert!(json.contains("\"attempts\": 2") && json.contains("\"image\": \"x\""), "{json}");
    refused_for(&job("<<: 5"), "[\"<<\"]", "must be a map");
    refused_for(&job("<<: [{a: 1}, 2]"), "[\"<<\"]", "must be a map");
    refused_for(&job("<<: {imgae: x}"), "imgae", "did you mean");
    let many: String = (0..2000).map(|_| "<<: {}\n").collect();
    refused_for(&job(&many), "", "merge keys");
    assert!(refused(&job("env: {\"<<\": {}}")).contains("env"), "in quotes it is a key");
}

/// A tag makes some readers run code. Here it can say only what is so anyhow, or that it is text.
#[test]
fn tags_are_refused_but_for_plain_ones() {
    strict(&job("env: {A: !!str 5, B: !!int 5}\ndependsOn: !!seq [b]")).unwrap();
    refused_for(&job("env: {A: !!python/object:os.system x}"), "env.A", "tag");
    refused_for(&job("env: {A: !x y}"), "env.A", "tag");
    refused_for(&job("array: !!int five"), "array", "tag");
    refused_for(&job("args: !!binary aGk="), "args", "");
    refused_for(&job("env: !thing {}"), "env", "tag");
}

/// A NUL ends a string in C and nowhere else; `=` ends the name of a variable.
#[test]
fn bytes_that_leave_their_place_are_refused() {
    refused_for(&job("command: [\"a\\0b\"]"), "command[0]", "NUL");
    refused_for(&job("env: {A: \"x\\0\"}"), "env.A", "NUL");
    refused_for("{\"kind\":\"Job\",\"name\":\"a\",\"image\":\"x\\u0000\"}", "image", "NUL");
    refused_for("kind: Job\0", "", "");
    for name in ["A=B", "1A", "A B", "\"\"", "Ä", "\"A\\0\""] {
        refused_for(&job(&format!("env: [{{name: {name}, value: x}}]")), "env[0].name", "");
        refused_for(&job(&format!("env: {{{name}: x}}")), "", "variable");
    }
}

/// A mount that leaves its place is somebody else's file.
#[test]
fn paths_that_lead_out_are_refused() {
    for at in ["relative", "/a/../b", "..", "/", "//", "/.", "/a:b", "\"\""] {
        let mounts = format!("mounts: [{{emptyDir: {{}}, at: {at}}}]");
        refused_for(&job(&mounts), "mounts[0].at", "must");
    }
    for path in ["/etc/passwd", "../x", "a/../../x", "a//b", "./x", "\"\""] {
        let mounts = format!("mounts: [{{config: c, at: /c, items: {{k: {path}}}}}]");
        refused_for(&job(&mounts), "mounts[0].items.k", "must");
    }
    refused_for(&job("mounts: [{host: /srv/../etc, at: /x}]"), "mounts[0].host", "..");
    refused_for(&job("mounts: [{host: srv, at: /x}]"), "mounts[0].host", "absolute");
    refused_for(&job("workdir: ../x"), "workdir", "absolute");
    for key in ["../x", "..", "a/b", "\"\"", "."] {
        refused_for(&format!("kind: Config\nname: c\ndata: {{{key}: x}}\n"), "", "no key");
        refused_for(&format!("kind: Secret\nname: c\ndata: {{{key}: x}}\n"), "", "no key");
    }
}

/// A schedule is looked at for its shape; whether its time zone is known is asked by who has them.
#[test]
fn schedules_that_are_none_are_refused() {
    let cron = |schedule: &str| {
        format!("kind: Cron\nname: a\nimage: x\nschedule: \"{schedule}\"\ntimezone: Mars/Olympus\n")
    };
    for good in
        ["* * * * *", "*/5 0-6,12 1,15 jan-mar mon", "0 0 L * 5L", "59 23 31 12 7", "@weekly"]
    {
        strict(&cron(good)).unwrap();
    }
    for bad in [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "a * * * *",
        "* * * * 8",
        "*/5/2 * * * *",
        ",1 * * * *",
        "TZ=UTC * * * * *",
        "@reboot",
        "; rm -rf / * *",
    ] {
        refused_for(&cron(bad), "schedule", "");
    }
    refused_for(
        "kind: Cron\nname: a\nimage: x\nschedule: '@daily'\ntimezone: '; x'\n",
        "timezone",
        "",
    );
}

/// No message may hold what a secret holds, however wrong its document is.
#[test]
fn secrets_are_not_told_in_problems() {
    for text in [
        "kind: Secret\nname: a\ndata: {k: [canary]}\n",
        "kind: Secret\nname: A\nbinary: {k: canary!}\n",
        "kind: Secret\nname: a\ntype: kubernetes.io/tls\ndata: {tls.crt: canary}\n",
        "kind: Secret\nname: a\ndata: {k: \"canary\\0\"}\n",
        "kind: Secret\nname: a\ndata: {k: !canary x}\nx: canary\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: canary\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {k: 'canary'\n",
        "{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"data\": {\"k\": \"canary\" \"x\"}}",
    ] {
        let problems = refused(text);
        assert!(!problems.contains("canary"), "{problems}");
    }
    let objects = strict("kind: Secret\nname: a\ndata: {k: canary}\n").unwrap();
    assert!(!format!("{objects:?}").contains("canary"));
    assert!(!mason_core::manifest::show(&objects[0]).contains("canary"));
}

/// JSON's letters beyond the first plane are two escapes, which is no YAML.
#[test]
fn json_is_read_as_json() {
    let text = r#"{"kind": "Job", "name": "a", "image": "x", "env": {"A": "\ud83d\ude00\/"}}"#;
    let objects = strict(text).unwrap();
    assert!(super::told(&objects[0]).contains("\u{1F600}/"));
    let two = format!("{}\n{}", text, text.replace("\"a\"", "\"b\""));
    assert_eq!(strict(&two).unwrap().len(), 2);
    strict("{kind: Job, name: a, image: x}").unwrap();
    refused_for("{\"kind\": \"Job\",\n \"name\" \"a\"}", "", "line 2: is no JSON");
    for text in ["[]", "[1]", "5", "\"x\"", "[{}]", "{}", "kind: 5", "kind: [x]"] {
        assert!(refused(text).contains("document 1"), "{text}");
    }
    for empty in ["", "\n", "---\n", "# nothing\n", "---\n---\n", "~"] {
        assert_eq!(strict(empty).unwrap().len(), 0, "{empty:?}");
    }
}

/// Two objects of one name in a text are a mistake of copying; the second would win in silence.
#[test]
fn objects_of_one_name_are_refused() {
    refused_for(
        "kind: Job\nname: a\nimage: x\n---\nkind: Service\nname: a\nimage: x\n",
        "",
        "a job before",
    );
    strict("kind: Job\nname: a\nimage: x\n---\nkind: Config\nname: a\n").unwrap();
    strict("kind: Job\nname: a\nimage: x\n---\nkind: Job\nname: a\nnamespace: n\nimage: x\n")
        .unwrap();
}

/// The store takes 64 KiB a value; whoever asks for more should hear it from us.
#[test]
fn objects_that_no_store_would_take_are_refused() {
    let big = "x".repeat(70_000);
    refused_for(&job(&format!("args: [\"{big}\"]")), "", "all that one object may have");
    refused_for(
        &format!("kind: Config\nname: c\ndata: {{k: \"{big}\"}}\n"),
        "",
        "all that one object",
    );
    refused_for(
        &format!("kind: Secret\nname: c\ndata: {{k: \"{big}\"}}\n"),
        "",
        "all that one object",
    );
}

/// A megabyte of mistakes is answered about as soon as any other megabyte: whatever is looked up
/// for each of them must not grow with their number.
#[test]
fn a_megabyte_of_mistakes_costs_no_more_than_a_megabyte() {
    let lines = |line: &dyn Fn(usize) -> String| -> String {
        let mut text = String::new();
        for number in 0.. {
            let next = line(number);
            if text.len() + next.len() > TEXT_BYTES_MAX - 1000 {
                return text;
            }
            text += &next;
        }
        text
    };
    let workflow = |templates: &str| format!("kind: Workflow\nname: a\ntemplates:\n{templates}");
    let bodies = [
        job(&lines(&|number| format!("imgae{number}: 1\n"))),
        job(&format!("env:\n{}", lines(&|number| format!("  V{number}: 1\n")))),
        job(&format!("mounts:\n{}", lines(&|number| format!("- {{host: /x, at: /{number}}}\n")))),
        format!(
            "apiVersion: v1\nkind: List\nitems:\n{}",
            lines(&|_| "- {kind: Namespace, name: a}\n".to_owned())
        ),
        workflow(&lines(&|number| {
            format!("- {{name: t{number}, steps: [{{name: a, template: u}}]}}\n")
        })),
        workflow(&format!(
            "- name: t\n  image: x\n- name: m\n  dag:\n{}",
            lines(&|number| format!(
                "  - {{name: n{}, template: t, depends: n{number}}}\n",
                number + 1
            ))
        )),
        workflow(&format!(
            "- name: t\n  image: x\n  args:\n{}",
            lines(&|_| "  - \"{{a.b}}\"\n".to_owned())
        )),
        job(&format!("args: [{}]", lines(&|_| "a,".to_owned()))),
        {
            let half = TEXT_BYTES_MAX / 2;
            let keys: String = (0..half / 10).map(|number| format!("k{number}: 1\n")).collect();
            job(&format!("{keys}<<: [{}]", "{},".repeat((half - 10_000) / 3)))
        },
        job(&format!("placement: {{require: [{}]}}", lines(&|_| "a=b,".to_owned()))),
    ];
    for text in bodies {
        assert!(text.len() > TEXT_BYTES_MAX / 2, "{} bytes", text.len());
        let problems = refused(&text);
        assert!(problems.len() < TEXT_BYTES_MAX, "the answer is {} bytes", problems.len());
    }
}
