use pitlane::State;

#[derive(State)]
struct Collision {
    kind_flag_size_sum: i64,
    b: u8,
    delay_owner_state_at: i64,
}

#[derive(State)]
enum Tagged {
    #[state(was = "tag")]
    Label(String),
    Plain,
}

fn main() {}
