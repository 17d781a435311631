use pitlane::State;

#[derive(State)]
union Either {
    a: u8,
    b: i8,
}

#[derive(State)]
enum Never {}

#[derive(State)]
struct Borrowed<'a> {
    text: &'a str,
}

#[derive(State)]
struct Tree {
    value: u8,
    children: Vec<Tree>,
}

fn main() {}
