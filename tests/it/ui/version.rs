use pitlane::State;

#[derive(State)]
#[state(version = 0)]
struct Zero {
    a: u8,
}

#[derive(State)]
#[state(version = 1, version = 2)]
struct Twice {
    a: u8,
}

#[derive(State)]
#[state(version = "2")]
struct Text {
    a: u8,
}

fn main() {}
