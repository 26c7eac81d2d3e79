//! Starting and ending the engine's threads.

use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::slot::Slot;
use crate::source::SourceError;
use crate::sys::thread::{ThreadSettings, lock_memory};

/// Starts a thread and schedules it; what the system refuses goes into `notes`.
pub fn spawn<T: Send + 'static>(
    name: &str,
    settings: &ThreadSettings,
    notes: &mut Vec<String>,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    let (report, refused) = std::sync::mpsc::channel();
    let (own_name, settings) = (name.to_string(), settings.clone());
    let body = move || {
        let refusals = settings.apply();
        let _ = report.send(refusals.iter().map(|refusal| format!("{own_name}: {refusal}")).collect::<Vec<_>>());
        drop((report, own_name, settings));
        run()
    };
    let thread = std::thread::Builder::new().name(name.to_string()).spawn(body);
    let thread = thread.map_err(Error::io(format!("starting the thread {name}")))?;
    notes.extend(refused.recv().unwrap_or_default());
    Ok(thread)
}

/// Waits for a thread to end; a panic in it becomes an error.
pub fn join<T>(thread: JoinHandle<T>) -> Result<T> {
    let name = thread.thread().name().unwrap_or("a thread").to_string();
    thread.join().map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Error::Source(SourceError::Other(format!("{name} panicked: {text}").into()))
    })
}

/// Locks the slots' memory; a refusal goes into `notes`.
pub fn lock_slots<'a>(slots: impl Iterator<Item = &'a Box<Slot>>, notes: &mut Vec<String>) {
    for bytes in slots.flat_map(|slot| slot.planes()) {
        if let Err(refusal) = lock_memory(bytes) {
            // The first refusal tells all: the limit is reached.
            return notes.push(refusal.to_string());
        }
    }
}
