//! A job whose state has a value of every type that state may have, for trying readers of savepoints on it.
//!
//! `cargo run --example every_type -- run`, then `pitlane inspect every-type` and DuckDB on its files.

use pitlane::State;
use pitlane::connectors::Generator;
use pitlane::engine::Job;
use pitlane::state::{Bytes, FixedBytes, FixedDecimal, Micros, Msgpack, Nanos};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(State)]
enum Colour {
    Red,
    Blue,
}

#[derive(State)]
enum Shape {
    Point,
    Circle(f64),
    Maybe(Option<u8>),
    Rectangle { width: i32, height: i32 },
}

#[derive(State)]
struct Empty {}

#[derive(Serialize, Deserialize)]
struct Foreign {
    name: String,
    size: u16,
}

#[derive(State)]
struct Everything {
    truth: bool,
    small: (i8, i16, i32, i64),
    natural: (u8, u16, u32, u64),
    huge: i128,
    huge_natural: u128,
    single: f32,
    double: f64,
    letter: char,
    text: String,
    bytes: Bytes,
    fixed: FixedBytes<3>,
    price: FixedDecimal<12, 2>,
    prices: Vec<Option<FixedDecimal<38, 10>>>,
    span: Duration,
    at: SystemTime,
    about: Micros<SystemTime>,
    exactly: Option<Nanos<SystemTime>>,
    nothing: (),
    empty: Empty,
    option: Option<i64>,
    options: Option<Option<String>>,
    option_of_nothing: Option<()>,
    list: Vec<Option<u32>>,
    lists: Vec<Vec<String>>,
    set: BTreeSet<u16>,
    map: BTreeMap<String, f64>,
    map_of_numbers: BTreeMap<i64, Vec<bool>>,
    map_of_options: BTreeMap<Option<String>, i32>,
    colour: Colour,
    shapes: Vec<Shape>,
    shape: Option<Shape>,
    boxed: Box<u32>,
    foreign: Msgpack<Foreign>,
}

fn shape(n: u64) -> Shape {
    match n % 5 {
        0 => Shape::Point,
        1 => Shape::Circle(n as f64 / 4.0),
        2 => Shape::Maybe(None),
        3 => Shape::Maybe(Some(n as u8)),
        _ => Shape::Rectangle { width: n as i32, height: -(n as i32) },
    }
}

fn everything(n: u64) -> Everything {
    let word = |n: u64| format!("wörd-{n}");
    let signed = n as i64 * if n.is_multiple_of(2) { 1 } else { -1 };
    Everything {
        truth: n.is_multiple_of(3),
        small: (signed as i8, signed as i16, signed as i32, signed * 10_000_000_000_000),
        natural: (n as u8, n as u16, n as u32, u64::MAX - n),
        huge: i128::from(signed) << 90,
        huge_natural: u128::MAX - u128::from(n),
        single: n as f32 / 8.0,
        double: -(n as f64) / 1024.0,
        letter: char::from_u32(0x3b1 + n as u32 % 20).unwrap_or('?'),
        text: word(n),
        bytes: Bytes((0..n % 7).map(|b| b as u8 * 40).collect()),
        fixed: FixedBytes([n as u8, 0, 255]),
        price: FixedDecimal::new(i128::from(signed) * 99).unwrap_or_default(),
        prices: (0..n % 3).map(|i| FixedDecimal::new(i128::from(signed) << (60 * i))).collect(),
        span: Duration::from_nanos(n * n),
        at: UNIX_EPOCH + Duration::from_secs(n << 20),
        about: Micros::cut(UNIX_EPOCH + Duration::from_nanos(n * 999)),
        exactly: Nanos::new(UNIX_EPOCH - Duration::from_nanos(n)),
        nothing: (),
        empty: Empty {},
        option: (n % 2 == 1).then_some(signed),
        options: [None, Some(None), Some(Some(word(n)))][n as usize % 3].clone(),
        option_of_nothing: n.is_multiple_of(2).then_some(()),
        list: (0..n % 4).map(|i| (i != 1).then_some(i as u32)).collect(),
        lists: (0..n % 3).map(|i| (0..i).map(word).collect()).collect(),
        set: (0..n % 5).map(|i| (i * n) as u16).collect(),
        map: (0..n % 3).map(|i| (word(i), i as f64 / 2.0)).collect(),
        map_of_numbers: (0..n % 3).map(|i| (-(i as i64), vec![true; i as usize])).collect(),
        map_of_options: (0..n % 3).map(|i| ((i > 0).then(|| word(i)), i as i32)).collect(),
        colour: if n.is_multiple_of(2) { Colour::Red } else { Colour::Blue },
        shapes: (0..n % 6).map(shape).collect(),
        shape: (!n.is_multiple_of(4)).then(|| shape(n)),
        boxed: Box::new(n as u32),
        foreign: Msgpack(Foreign { name: word(n), size: n as u16 }),
    }
}

fn main() -> ExitCode {
    let job = Job::new("every-type");
    let numbers = job.source(Generator::new(2, 1_000, |split, n| 2 * n + u64::from(split))).uid("numbers");
    let _ = numbers
        .key_by(|n| (format!("key-{}", n / 10), (n % 10) as i32 - 5))
        .flat_map_with_state(|state: &mut Option<Everything>, n| {
            *state = Some(everything(n));
            None::<()>
        })
        .uid("everything");
    let _ = numbers
        .key_by(|n| format!("name-{n}"))
        .flat_map_with_state(|state: &mut Option<u64>, n| {
            *state = Some(n * n);
            None::<()>
        })
        .uid("squares");
    job.main()
}
