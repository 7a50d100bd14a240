//! `man`: the manual pages of a program, one of each of its commands. Of `ensemble` and of `kvstorec`.

use std::{fs, io, path::PathBuf};

use crate::{
    exit::{Code, Failure, Outcome},
    options::Color,
    printer::Printer,
};

/// Prints the manual page, or writes those of all commands into a directory
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory, which is made if it is missing; without it, the page of the program itself is printed
    dir: Option<PathBuf>,
}

pub(crate) fn execute(args: &Args, program: clap::Command) -> Outcome {
    let Some(dir) = &args.dir else {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(program).render(&mut page);
        rendered.map_err(|cause| Failure::of(Code::Failed, &cause))?;
        return Printer::new(false, Color::Never).bytes(&page);
    };
    let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(program, dir));
    written.map_err(|cause: io::Error| {
        Failure::new(Code::Failed, format_args!("cannot write manual pages to {}: {cause}", dir.display()))
            .advise("choose another directory")
    })
}
