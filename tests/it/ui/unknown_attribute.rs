use pitlane::State;

#[derive(State)]
#[state(versoin = 2)]
struct OnAType {
    a: u8,
}

#[derive(State)]
struct OnAField {
    #[state(renamed = "b")]
    a: u8,
}

#[derive(State)]
enum OnAVariant {
    #[state(default)]
    A,
}

fn main() {}
