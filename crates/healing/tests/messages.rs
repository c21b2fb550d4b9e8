//! What accelerators say when they fail, as people recorded it, and what only sounds like it.

use prunella_healing::message_class;

const RECORDED: &str = include_str!("messages/accelerators.txt");

struct Message {
    class: String,
    from: String,
    text: Vec<String>,
}

/// A message begins with `== CLASS: where it was recorded`.
fn recorded() -> Vec<Message> {
    let mut all: Vec<Message> = Vec::new();
    for line in RECORDED.lines().filter(|line| !line.starts_with("## ")) {
        if let Some((class, from)) = line.strip_prefix("== ").and_then(|head| head.split_once(": ")) {
            all.push(Message { class: class.to_owned(), from: from.to_owned(), text: Vec::new() });
        } else if let Some(message) = all.last_mut() {
            message.text.push(line.to_owned());
        }
    }
    all
}

#[test]
fn every_recorded_message_has_its_class_and_near_misses_have_none() {
    let all = recorded();
    for class in ["gpu-memory", "gpu-fault", "none"] {
        assert!(all.iter().filter(|message| message.class == class).count() >= 15, "{class}");
    }
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|message| {
            let found = message_class(&message.text).map_or("none", |class| class.as_str());
            (found != message.class).then(|| format!("{} is {found}, not {}", message.from, message.class))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_rank_before_every_line_changes_no_class() {
    for message in recorded().iter().filter(|message| message.text.iter().all(|line| !line.starts_with('['))) {
        let ranked: Vec<String> = message.text.iter().map(|line| format!("[rank1]: {line}")).collect();
        assert_eq!(message_class(&ranked), message_class(&message.text), "{}", message.from);
    }
}
