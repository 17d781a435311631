use pitlane::State;

#[derive(State)]
struct Code {
    #[state(default = "1 +")]
    a: u8,
}

#[derive(State)]
struct OtherType {
    #[state(default = -1)]
    a: u8,
}

fn main() {}
