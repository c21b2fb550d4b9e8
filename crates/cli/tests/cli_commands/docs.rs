//! docs/cli.md says everything that the command line has.

use crate::home::Home;

const DOCS: &str = include_str!("../../../../docs/cli.md");

/// Returns the names behind a heading of clap's help, one a line.
fn listed(help: &str, heading: &str) -> Vec<String> {
    let inside = help.split_once(heading).map_or("", |(_, rest)| rest);
    let lines = inside.lines().skip(1).take_while(|line| line.is_empty() || line.starts_with(' '));
    // Names stand two or six blanks in, their descriptions further.
    let names = lines.filter(|line| {
        let depth = line.len() - line.trim_start().len();
        depth == 2 || depth == 6 && line.trim_start().starts_with("--")
    });
    names
        .filter_map(|line| line.split_whitespace().find(|word| !word.starts_with('-') || word.starts_with("--")))
        .map(|word| word.trim_end_matches(',').split('=').next().unwrap_or(word).to_owned())
        .collect()
}

/// Returns the part of the page about a command.
fn section(command: &str) -> &'static str {
    let heading = format!("\n## {command}\n");
    let (_, rest) = DOCS.split_once(&heading).unwrap_or_else(|| panic!("docs/cli.md has no heading `## {command}`"));
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

#[test]
fn every_command_and_every_option_is_documented() {
    let home = Home::new();
    let commands = listed(&home.run(&["--help"]).exits(0).out, "Commands:");
    assert!(commands.len() > 14, "{commands:?}");
    let everywhere = [
        "--output",
        "--store",
        "--read-from",
        "--config",
        "--transfer-rate",
        "--transfer-memory",
        "--transfer-processors",
        "--transfer-requests",
        "--help",
        "--version",
    ];
    for option in everywhere {
        assert!(DOCS.contains(&format!("`{option}")), "{option}");
    }
    for command in commands.iter().filter(|command| *command != "help") {
        let about = section(command);
        let mut words: Vec<Vec<String>> = vec![vec![command.clone()]];
        for sub in listed(&home.run(&[command, "--help"]).exits(0).out, "Commands:") {
            if sub != "help" {
                words.push(vec![command.clone(), sub]);
            }
        }
        for words in words {
            let line: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
            let options = listed(&home.run(&line).exits(0).out, "Options:");
            assert!(options.contains(&"--help".to_owned()), "{line:?}: {options:?}");
            for option in options.iter().filter(|option| !everywhere.contains(&option.as_str())) {
                assert!(about.contains(&format!("`{option}")), "docs/cli.md, {command}: `{option}` is missing");
            }
            if let Some(sub) = words.get(1) {
                assert!(about.contains(&format!("`{command} {sub}")), "docs/cli.md: `{command} {sub}` is missing");
            }
        }
    }
}

#[test]
fn the_page_speaks_of_no_command_that_is_not_there() {
    let commands = listed(&Home::new().run(&["--help"]).exits(0).out, "Commands:");
    for heading in DOCS.lines().filter_map(|line| line.strip_prefix("## ")) {
        let plain = heading.chars().all(|c| c.is_ascii_lowercase());
        assert!(!plain || commands.contains(&heading.to_owned()), "`## {heading}`");
    }
}
