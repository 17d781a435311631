use pitlane::State;

#[derive(State)]
#[state(dropped = "a")]
struct StillThere {
    a: u8,
}

#[derive(State)]
#[state(dropped = "old")]
struct Renamed {
    #[state(was = "old")]
    a: u8,
}

#[derive(State)]
#[state(dropped("x", "x"))]
struct Twice {
    a: u8,
}

#[derive(State)]
#[state(dropped = "x")]
struct Nothing {}

#[derive(State)]
#[state(dropped = "x")]
struct Tuple(u8, u8);

#[derive(State)]
#[state(dropped = "X")]
enum Variants {
    A,
}

fn main() {}
