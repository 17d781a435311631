use pitlane::State;

#[derive(State)]
struct Was(#[state(was = "x")] u8, u8);

#[derive(State)]
enum Variants {
    A(#[state(default)] u8),
}

fn main() {}
