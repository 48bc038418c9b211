//! What the README shows can be typed as it stands there.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::Stdio,
};

use crate::cluster::{Process, command};

/// A command of the README, as a shell would split it.
type Line = Vec<String>;

/// The commands of the program in the `sh` blocks. Others, such as `cargo xtask`, are not for here.
fn commands(readme: &str) -> Vec<Line> {
    let (mut commands, mut is_shell) = (Vec::new(), false);
    for line in readme.lines() {
        if line.starts_with("```") {
            is_shell = line == "```sh";
            continue;
        }
        let line = line.trim_start_matches("$ ");
        let ours =
            ["cargo run --release -- ", "cargo run -- ", "./target/release/posthorn ", "posthorn "];
        let rest = ours.iter().find_map(|start| line.strip_prefix(start));
        if let Some(rest) = rest.filter(|_| is_shell) {
            commands.push(words(rest));
        }
    }
    commands
}

/// The words of a shell line without variables: quotes, a comment, and an end at `&`.
fn words(line: &str) -> Line {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#' | '&') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            (Some(_) | None, c) => word.get_or_insert_default().push(c),
        }
    }
    assert_eq!(quote, None, "a quote is open in: {line}");
    words.extend(word);
    words
}

fn start(line: &Line, folder: &Path) -> Process {
    let mut command = command("");
    command.args(line).current_dir(folder).stdin(Stdio::piped());
    Process::start(command.stdout(Stdio::piped()).stderr(Stdio::inherit()))
}

/// The first line of output, which says that it runs.
fn first_line(process: &mut Process) -> String {
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    // The rest has to go somewhere.
    let _rest = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    line
}

/// Ports of its own for what would take the default ones; else as shown.
fn with_free_ports(mut line: Line) -> Line {
    if line[0] == "dev" {
        for (option, address) in [("--listen", "127.0.0.1:0"), ("--admin", "127.0.0.1:0")] {
            if !line.iter().any(|word| word == option) {
                line.extend([option.to_owned(), address.to_owned()]);
            }
        }
    }
    line
}

#[test]
fn every_command_of_the_readme_works_as_shown() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let commands = commands(&std::fs::read_to_string(readme).unwrap());
    assert!(commands.iter().any(|line| line[0] == "demo"), "the README shows the demo");
    let folder = tempfile::tempdir().unwrap();
    let mut clusters = Vec::new();
    // By the device they use: a chat needs the one that a follower has.
    let mut followers = BTreeMap::new();
    for line in commands {
        let shown = line.join(" ");
        let option = |name: &str| line.iter().skip_while(|word| *word != name).nth(1).cloned();
        let person = option("--as");
        let follows = line.iter().any(|word| word == "--follow" || word == "-f");
        if line[0] == "chat" || line[0] == "recv" {
            drop(followers.remove(&person));
        }
        let mut process = start(&with_free_ports(line.clone()), folder.path());
        if line[0] == "dev" {
            let first = first_line(&mut process);
            assert!(first.starts_with("Posthorn is running on"), "{shown}: {first}");
            clusters.push(process);
        } else if follows {
            let shown = BufReader::new(process.stdout.take().unwrap()).lines();
            followers.insert(person, (process, shown));
        } else {
            let input =
                if line[0] == "chat" || line[0] == "send" { "hello\nand bye\n" } else { "" };
            process.stdin.take().unwrap().write_all(input.as_bytes()).ok();
            let output = process.wait_with_output();
            assert!(output.status.success(), "{shown} ended with {:?}", output.status.code());
            if line[0] == "send"
                && let Some((_, shown_there)) = followers.get_mut(&option("--to"))
            {
                let is_it = |said: &str| line[1..].iter().any(|word| said.ends_with(word.as_str()));
                let found = shown_there.any(|said| is_it(&said.unwrap()));
                assert!(found, "{shown}: the follower shows it");
            }
        }
    }
}

#[test]
fn the_example_in_the_readme_is_the_one_that_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let example = std::fs::read_to_string(root.join("crates/client/examples/hello.rs")).unwrap();
    assert!(readme.contains(&format!("```rust\n{example}```")), "copy hello.rs into the README");
    assert!(example.lines().count() <= 40, "an example is short");
}

#[test]
fn lines_are_taken_as_a_shell_does() {
    let readme = "```sh\ncargo run -- send --to '#team' \"two words\"  # all\ncargo xtask ci\n```\n\
                  ```\nposthorn no\n```\n    posthorn neither\n```sh\nposthorn dev &\n```\n";
    assert_eq!(
        commands(readme),
        [
            ["send", "--to", "#team", "two words"].map(str::to_owned).to_vec(),
            vec!["dev".to_owned()],
        ]
    );
}
