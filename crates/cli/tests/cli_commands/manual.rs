//! completions and man: what a shell and `man` are told about the command line.

use std::{fs, process::Command};

use crate::home::Home;

fn script(shell: &str) -> String {
    Home::new().run(&["completions", shell]).exits(0).out
}

/// Returns the names of all commands, as the help lists them.
fn commands(home: &Home) -> Vec<String> {
    let help = home.run(&["--help"]).exits(0).out;
    let (_, list) = help.split_once("Commands:\n").expect("there are commands");
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn bash_understands_its_script_and_completes_with_it() {
    let home = Home::new();
    let path = home.beside("prunella.bash");
    fs::write(&path, script("bash")).expect("ours");
    let Ok(checked) = Command::new("bash").arg("-n").arg(&path).output() else { return };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let offers = |words: &[&str]| {
        let line = format!(
            "source '{}'; COMP_WORDS=({}); COMP_CWORD={}; {} prunella '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            path.display(),
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words.len() - 1,
            // The function that `complete` was given.
            "$(complete -p prunella | sed 's/.*-F \\([^ ]*\\).*/\\1/')",
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let told = Command::new("bash").args(["--norc", "-c", &line]).output().expect("it was there a moment ago");
        assert!(told.stderr.is_empty(), "{}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8_lossy(&told.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offers(&["prunella", "val"]), ["validate"]);
    assert_eq!(offers(&["prunella", "validate", "--sch"]), ["--schema"]);
    assert_eq!(offers(&["prunella", "validate", "--output", ""]), ["text", "json"]);
    assert_eq!(offers(&["prunella", "tell", "ch"]), ["checkpoint"]);
    let all = offers(&["prunella", ""]);
    for command in commands(&home) {
        assert!(all.contains(&command), "{command}: {all:?}");
    }
}

#[test]
fn every_shell_hears_of_every_command() {
    let home = Home::new();
    for (shell, begins) in [
        ("zsh", "#compdef prunella"),
        ("fish", "# Print an optspec"),
        ("elvish", "\nuse builtin"),
        ("powershell", "\nusing namespace"),
    ] {
        let script = script(shell);
        assert!(script.starts_with(begins), "{shell}: {:?}", script.lines().take(3).collect::<Vec<_>>());
        for command in commands(&home) {
            assert!(script.contains(&command), "{shell}: {command}");
        }
        // Those that are here say what they think of it.
        if let Some(flag) = ["zsh", "fish"].contains(&shell).then_some("-n") {
            let path = home.beside(shell);
            fs::write(&path, script).expect("ours");
            if let Ok(checked) = Command::new(shell).arg(flag).arg(&path).output() {
                assert!(checked.status.success(), "{shell}: {}", String::from_utf8_lossy(&checked.stderr));
            }
        }
    }
    let json = home.json(&["completions", "fish"]);
    assert_eq!((&json["shell"], json["script"].as_str()), (&"fish".into(), Some(script("fish").as_str())));
    let unknown = home.run(&["completions", "tcsh"]).exits(2);
    assert!(unknown.err.contains("possible values: bash, elvish, fish, powershell, zsh"), "{}", unknown.err);
}

#[test]
fn every_command_has_a_page_and_no_section_is_empty() {
    let home = Home::new();
    let dir = home.beside("man/man1");
    let to = dir.to_str().expect("text");
    let written = home.run(&["man", "--dir", to]).exits(0).out;
    let names: Vec<String> = fs::read_dir(&dir)
        .expect("it was made")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(written, format!("{} pages in `{to}`\n", names.len()));
    let mut expected: Vec<String> = commands(&home).iter().map(|name| format!("prunella-{name}.1")).collect();
    expected.extend(["prunella.1", "prunella-tell-checkpoint.1", "prunella-tell-done.1"].map(str::to_owned));
    for page in expected {
        assert!(names.contains(&page), "{page}: {names:?}");
    }
    for name in &names {
        let text = fs::read_to_string(dir.join(name)).expect("text");
        let sections: Vec<(&str, &str)> =
            text.split("\n.SH ").skip(1).map(|section| section.split_once('\n').unwrap_or((section, ""))).collect();
        let headings: Vec<&str> = sections.iter().map(|(heading, _)| *heading).collect();
        assert!(headings.starts_with(&["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"]), "{name}: {headings:?}");
        for (heading, body) in sections {
            let said = body.lines().any(|line| !line.trim().is_empty() && !line.starts_with('.'));
            assert!(said, "{name}: {heading} is empty");
        }
        assert!(text.contains(&format!(".TH {} 1", name.trim_end_matches(".1"))), "{name}");
    }
    // Again: pages that are there are replaced, nothing else is left.
    home.run(&["man", "--dir", to]).exits(0);
    assert_eq!(fs::read_dir(&dir).expect("there").count(), names.len());
}

#[test]
fn one_page_is_printed_and_what_is_no_command_has_none() {
    let home = Home::new();
    assert!(home.run(&["man"]).exits(0).out.contains("prunella\\-run(1)"));
    let page = home.run(&["man", "tell", "done"]).exits(0).out;
    assert!(page.contains(".TH prunella-tell-done 1"), "{page}");
    assert_eq!(home.json(&["man", "run"])["page"], "prunella-run.1");
    let none = home.run(&["man", "fly"]).exits(2);
    assert!(none.err.contains("there is no command `fly`") && none.err.contains("prunella --help"), "{}", none.err);
    home.write("file", "");
    assert!(home.run(&["man", "--dir", "file"]).exits(75).err.contains("`file`"));
}
