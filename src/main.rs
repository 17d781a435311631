//! The command line of pitlane.

fn main() {}
