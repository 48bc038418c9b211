//! Words that break a rule where they stand.

use super::{Finding, metadata::contains_word, source::Source};

/// A rule: these words may not stand there.
struct Rule {
    words: &'static [&'static str],
    within: Within,
    /// Folders or files it is about; none for all.
    folders: &'static [&'static str],
    /// Folders or files it is not about, each for the reason beside it.
    except: &'static [&'static str],
    what: &'static str,
    instead: &'static str,
}

/// What of a file a rule is about.
#[derive(Clone, Copy)]
enum Within {
    Code,
    /// Code that is no test.
    Product,
    Tests,
    Comments,
    /// A file without comments to tell apart.
    Text,
}

const ALL: &[&str] = &[];

/// Where a person waits for a real clock: the program, its tools, what measures. And tests of an
/// engine that has no other.
const MAY_READ_CLOCKS: &[&str] = &[
    "crates/node",
    "crates/xtask",
    "crates/sim",
    "loadtest",
    "crates/mailbox-scylla/benches",
    "crates/mailbox-scylla/tests/cql/world.rs",
];

const RULES: &[Rule] = &[
    Rule {
        words: &["unbounded_channel", "mpsc::unbounded", "UnboundedSender"],
        within: Within::Code,
        folders: ALL,
        except: ALL,
        what: "an unbounded channel",
        instead: "bound it, and say whether it waits, sheds or degrades when full",
    },
    Rule {
        words: &["tokio::spawn", "tokio::task::spawn", "task::spawn"],
        within: Within::Code,
        folders: ALL,
        // The outermost task, which main awaits.
        except: &["crates/node/src/run.rs"],
        what: "a task without an owner",
        instead: "spawn it on a JoinSet that awaits it, with a token that stops it",
    },
    Rule {
        words: &["SystemTime", "std::time::Instant"],
        within: Within::Code,
        folders: ALL,
        except: MAY_READ_CLOCKS,
        what: "a clock of the machine",
        instead: "take the time as an argument; roles read tokio::time",
    },
    Rule {
        words: &["thread::sleep", "time::sleep", "sleep_ms"],
        within: Within::Tests,
        folders: ALL,
        except: ALL,
        what: "a sleep in a test",
        instead: "wait for the event, or move the clock",
    },
    Rule {
        words: &["HashMap", "HashSet"],
        within: Within::Product,
        folders: &["crates/wire", "crates/session"],
        except: ALL,
        what: "a map without an order in a deterministic crate",
        instead: "use BTreeMap, BTreeSet or Vec",
    },
    Rule {
        words: &["::*"],
        within: Within::Product,
        folders: ALL,
        // The contract suite is tests, in a macro that each engine's crate expands.
        except: &["crates/ports/src/contract.rs", "crates/ports/src/contract"],
        what: "a glob import",
        instead: "name what is used; tests may write `use super::*`",
    },
    Rule {
        words: &["TODO", "FIXME", "XXX", "HACK"],
        within: Within::Comments,
        folders: ALL,
        except: ALL,
        what: "a note instead of a decision",
        instead: "do it, or decide not to and say why",
    },
    // Sentences of absence.
    Rule {
        words: &["mailbox.append", "mailbox().append", "Mailbox::append", "mailbox::Batch"],
        within: Within::Code,
        folders: &["crates/edge/src"],
        except: ALL,
        what: "an edge that writes to a mailbox",
        instead: "the edge never writes envelopes to a mailbox: append to the log",
    },
    Rule {
        words: &["ServerEndpoint", "ALPN_CLIENT", "ClientFrame", "ServerFrame", "Incoming"],
        within: Within::Code,
        folders: &["crates/worker/src"],
        except: ALL,
        what: "a worker that serves clients",
        instead: "a worker never holds a client connection: push to an edge over the mesh",
    },
    Rule {
        words: &["std::net", "std::fs", "std::thread", "std::process", "tokio", "rand", "async"],
        within: Within::Product,
        folders: &["crates/session/src"],
        except: ALL,
        what: "a socket, a file or a thread in the session",
        instead: "the session knows no clock and no socket: take an event, yield an effect",
    },
    Rule {
        words: &["prost", "encode_varint", "encode_length_delimited"],
        within: Within::Code,
        folders: ALL,
        except: &["crates/wire"],
        what: "a byte layout outside wire",
        instead: "only wire knows byte layouts: give it a type there",
    },
    Rule {
        words: &["to_be_bytes", "to_le_bytes", "from_be_bytes", "from_le_bytes"],
        within: Within::Product,
        folders: &["crates/session", "crates/ports", "crates/edge", "crates/worker"],
        except: ALL,
        what: "a byte layout outside wire",
        instead: "only wire knows byte layouts: give it a type there; \
                  random bytes have none: from_ne_bytes",
    },
    Rule {
        words: &["rdkafka", "scylla", "redis", "fjall", "quinn"],
        within: Within::Code,
        folders: &[
            "crates/ports",
            "crates/edge",
            "crates/worker",
            "crates/client",
            "crates/session",
        ],
        except: ALL,
        what: "an engine or a transport by name",
        instead: "node names the engine and link hides the transport: go through ports or link",
    },
    Rule {
        words: &["pub use quinn", "pub use rustls"],
        within: Within::Code,
        folders: &["crates/link"],
        except: ALL,
        what: "a transport that shows through link",
        instead: "wrap what others need in a type of link",
    },
    Rule {
        words: &["private_key", "secret_key", "private key", "secret key"],
        within: Within::Text,
        folders: &["crates/wire/proto"],
        except: ALL,
        what: "a field for a private key",
        instead: "no interface can carry a private key: it never leaves its device",
    },
];

/// Checks one file.
pub(crate) fn check(source: &Source, findings: &mut Vec<Finding>) {
    for rule in RULES.iter().filter(|rule| rule.is_about(source)) {
        let view = match rule.within {
            Within::Code | Within::Product | Within::Tests => &source.code,
            Within::Comments => &source.comments,
            Within::Text => &source.text,
        };
        for (index, line) in view.lines().enumerate() {
            let is_here = match rule.within {
                Within::Code | Within::Comments | Within::Text => true,
                Within::Product => !source.is_test(index),
                Within::Tests => source.is_test(index),
            };
            if is_here && rule.words.iter().any(|word| has_word(line, word)) {
                findings.push(Finding::new(&source.path, index + 1, rule.what, rule.instead));
            }
        }
    }
    check_imported_clock(source, findings);
}

impl Rule {
    fn is_about(&self, source: &Source) -> bool {
        let is_in = |folders: &[&str]| folders.iter().any(|folder| source.is_in(folder));
        let is_generated = source.path.contains("/generated/");
        (self.folders.is_empty() || is_in(self.folders)) && !is_in(self.except) && !is_generated
    }
}

/// Words that are no names, as `::*`, are found wherever they stand.
fn has_word(line: &str, word: &str) -> bool {
    if word.ends_with('*') { line.contains(word) } else { contains_word(line, word) }
}

/// The clock of the machine in a list of imports: `use std::{time::{Duration, Instant}};`.
fn check_imported_clock(source: &Source, findings: &mut Vec<Finding>) {
    if MAY_READ_CLOCKS.iter().any(|folder| source.is_in(folder)) {
        return;
    }
    for (at, _) in source.code.match_indices("use std::") {
        let statement = source.code[at..].split(';').next().unwrap_or_default();
        // One written out is found by the rule above.
        let is_plain = contains_word(statement, "std::time::Instant");
        if contains_word(statement, "Instant") && !is_plain {
            let line = source.code[..at].matches('\n').count() + 1;
            let what = "a clock of the machine";
            let instead = "take the time as an argument; roles read tokio::time";
            findings.push(Finding::new(&source.path, line, what, instead));
        }
    }
}
