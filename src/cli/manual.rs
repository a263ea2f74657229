//! Manual pages, made from the same texts as the help.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;

/// The arguments of `crossmodel man`.
#[derive(Debug, Args)]
pub(crate) struct ManualArguments {
    /// Writes the page of this command and those of all commands below it into a folder, one file each.
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl ManualArguments {
    /// Prints the page of `command`, or writes all pages.
    pub(crate) fn run(&self, command: Command, out: &mut dyn Write) -> io::Result<()> {
        match &self.folder {
            Some(folder) => {
                std::fs::create_dir_all(folder)?;
                clap_mangen::generate_to(command, folder)
            }
            None => {
                let mut page = Vec::new();
                // The command that shows the help of others has no page.
                Man::new(command.disable_help_subcommand(true)).render(&mut page)?;
                out.write_all(&page)
            }
        }
    }
}
