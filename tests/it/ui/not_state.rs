use pitlane::State;

struct Opaque;

#[derive(State)]
struct Owner {
    name: String,
    inside: Opaque,
}

fn main() {}
