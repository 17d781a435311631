use pitlane::{Key, State};

#[derive(Clone, State, Key, PartialEq)]
struct Position {
    name: String,
    height: f64,
}

impl Eq for Position {}

fn main() {}
