use pitlane::State;

#[derive(State)]
struct Reused {
    #[state(was = "at")]
    at_ms: i64,
    at: String,
}

#[derive(State)]
struct TwiceWas {
    #[state(was = "at")]
    a: i64,
    #[state(was = "at")]
    b: i64,
}

#[derive(State)]
struct Unchanged {
    #[state(was = "a")]
    a: i64,
}

#[derive(State)]
struct Empty {
    #[state(was = "")]
    a: i64,
}

#[derive(State)]
enum Variants {
    #[state(was = "Up")]
    On,
    Up,
}

fn main() {}
