//! A terminal, for programs that behave differently on one.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The text that programs have written to a terminal.
pub(crate) struct Terminal(Arc<Mutex<Vec<u8>>>);

impl Terminal {
    /// Opens a terminal, and the file that a program gets as one of its standard files.
    pub(crate) fn open() -> (Self, File) {
        let mut terminal = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let file = OpenOptions::new().write(true).open(name.to_str().unwrap()).unwrap();
        let text: Arc<Mutex<Vec<u8>>> = Arc::default();
        let written = Arc::clone(&text);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends with an error when nobody has the other end any more.
            while let Ok(count @ 1..) = terminal.read(&mut bytes) {
                written.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        (Self(text), file)
    }

    /// The text so far, with line feeds as they were written.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).replace("\r\n", "\n")
    }
}
