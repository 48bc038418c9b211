//! Typing, and who is there, as two people at their terminals see it.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{ChildStderr, ChildStdout},
};

use client::Hint;

use crate::{
    cluster::{Dev, Process, spawn},
    groups::{connect, user},
};

/// `posthorn chat` of one person with another.
struct Chat {
    process: Process,
    out: Lines<BufReader<ChildStdout>>,
    told: Lines<BufReader<ChildStderr>>,
}

impl Chat {
    fn start(data: &Path, person: &str, with: &str) -> Self {
        let mut process = spawn(data, &format!("chat --as {person} --with {with}"));
        let out = BufReader::new(process.stdout.take().unwrap()).lines();
        let told = BufReader::new(process.stderr.take().unwrap()).lines();
        Self { process, out, told }
    }

    fn told(&mut self) -> String {
        self.told.next().unwrap().unwrap()
    }
}

// Many threads: this one waits for the output of others.
#[tokio::test(flavor = "multi_thread")]
async fn a_chat_tells_that_the_other_comes_types_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let dev = Dev::start(data);
    let mut alice = Chat::start(data, "alice", "bob");
    let mut bob = Chat::start(data, "bob", "alice");
    assert_eq!(alice.told(), "bob is online");
    assert_eq!(bob.told(), "alice is online");
    bob.process.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    assert_eq!(alice.out.next().unwrap().unwrap(), "bob: hello");

    let phone = connect(&dev, data, "bob").await;
    phone.signal(&[user("alice")], node::content::encode_typing("bob")).unwrap();
    assert_eq!(alice.told(), "bob is typing\u{2026}");
    phone.watch(&[user("alice"), user("bob")]).unwrap();
    // Alice shows herself to bob, who shows himself to alice and not to himself.
    assert_eq!(phone.hints().next().await, Some(Hint::Online(user("alice"))));
    assert!(!phone.is_online(user("bob")));
    phone.close().await;

    drop(bob.process.stdin.take());
    assert!(bob.process.wait().unwrap().success());
    assert_eq!(alice.told(), "bob is offline");
    drop(alice.process.stdin.take());
    assert!(alice.process.wait().unwrap().success());
}
