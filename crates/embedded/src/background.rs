//! The threads of the database, which nobody waits for.

use std::fs;

use rustix::process::{Pid, getpriority_process, setpriority_process};

/// What the database names the threads that flush and compact.
const NAME: &str = "fjall:worker";

/// How far they stand back, as a *nice* value: a tenth of what others get of a busy processor. A
/// flush is a third of a second of work at once, and at equal priority everybody waits for it.
const NICE: i32 = 10;

/// Lets the threads that flush and compact, of every database of this process, stand back. Where
/// the system has no priorities of threads nothing changes. Returns how many there are.
pub(crate) fn stand_back() -> usize {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0 };
    let of_database = threads.flatten().filter_map(|thread| {
        let name = fs::read_to_string(thread.path().join("comm")).ok()?;
        let id = thread.file_name().to_str()?.parse().ok()?;
        (name.trim_end() == NAME).then(|| Pid::from_raw(id))?
    });
    of_database.filter(|thread| make_nice(*thread).is_ok()).count()
}

/// Sets the nice value of a thread, unless it is as high already.
fn make_nice(thread: Pid) -> rustix::io::Result<()> {
    if getpriority_process(Some(thread))? >= NICE {
        return Ok(());
    }
    setpriority_process(Some(thread), NICE)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{NAME, NICE, getpriority_process, stand_back};

    #[test]
    fn threads_of_that_name_stand_back_and_no_others() {
        let nice = || getpriority_process(None).unwrap();
        let before = nice();
        let (say, listen) = std::sync::mpsc::sync_channel(1);
        let run = move || {
            say.send(()).unwrap();
            std::thread::park();
            nice()
        };
        let thread = std::thread::Builder::new().name(NAME.into()).spawn(run).unwrap();
        listen.recv().unwrap();
        assert!(stand_back() >= 1);
        thread.thread().unpark();
        assert_eq!(thread.join().unwrap(), NICE.max(before));
        assert_eq!(nice(), before);
    }
}
