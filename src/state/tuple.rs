//! Columns of tuples of one to twelve parts, and tuples as keys.

use super::generated::{POSITIONS, open_part, open_struct, part, struct_array};
use super::{Build, ColumnMismatch, Key, Read, State, Unstorable};
use crate::model::{DataType, column_id};
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use std::cmp::Ordering;
use std::marker::PhantomData;

/// Builds a column of tuples of type `T` out of the builders of their parts.
#[derive(Debug)]
pub struct TupleBuilder<T, P> {
    parts: P,
    of: PhantomData<fn() -> T>,
}

/// Reads a column of tuples of type `T` by the readers of their parts.
#[derive(Debug)]
pub struct TupleReader<T, P> {
    parts: P,
    of: PhantomData<fn() -> T>,
}

impl<T, P: Default> Default for TupleBuilder<T, P> {
    fn default() -> Self {
        Self { parts: P::default(), of: PhantomData }
    }
}

macro_rules! tuple {
    ($count:literal: $($name:ident $index:tt),*) => {
        impl<$($name: State),*> Build<($($name,)*)> for TupleBuilder<($($name,)*), ($($name::Builder,)*)> {
            #[inline]
            fn append(&mut self, value: &($($name,)*)) -> Result<(), Unstorable> {
                $(self.parts.$index.append(&value.$index).map_err(|error| error.inside(POSITIONS[$index]))?;)*
                Ok(())
            }

            #[inline]
            fn append_absent(&mut self) {
                $(self.parts.$index.append_absent();)*
            }

            #[inline]
            fn len(&self) -> usize {
                self.parts.0.len()
            }

            fn size_hint_bytes(&self) -> usize {
                0 $(+ self.parts.$index.size_hint_bytes())*
            }

            fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
                struct_array(validity, [$({
                    let name = POSITIONS[$index];
                    part::<$name>(name, column_id(name), self.parts.$index.finish(None))
                }),*])
            }
        }

        impl<$($name: State),*> Read<($($name,)*)> for TupleReader<($($name,)*), ($($name::Reader,)*)> {
            fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
                let columns = open_struct::<($($name,)*)>(array, &POSITIONS[..$count], present)?;
                let parts = ($(open_part::<$name>(columns, $index, POSITIONS[$index], present)?,)*);
                Ok(Self { parts, of: PhantomData })
            }

            #[inline]
            fn read(&self, row: usize) -> ($($name,)*) {
                ($(self.parts.$index.read(row),)*)
            }
        }

        impl<$($name: State),*> State for ($($name,)*) {
            type Builder = TupleBuilder<Self, ($($name::Builder,)*)>;
            type Reader = TupleReader<Self, ($($name::Reader,)*)>;

            fn data_type() -> DataType {
                DataType::Tuple(vec![$($name::data_type()),*])
            }
        }

        impl<$($name: Key),*> Key for ($($name,)*) {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$index.encode(out);)*
            }

            #[inline]
            fn compare(&self, other: &Self) -> Ordering {
                Ordering::Equal $(.then_with(|| self.$index.compare(&other.$index)))*
            }

            #[inline]
            fn compare_row(&self, keys: &Self::Reader, row: usize) -> Ordering {
                Ordering::Equal $(.then_with(|| self.$index.compare_row(&keys.parts.$index, row)))*
            }
        }
    };
}

tuple!(1: A 0);
tuple!(2: A 0, B 1);
tuple!(3: A 0, B 1, C 2);
tuple!(4: A 0, B 1, C 2, D 3);
tuple!(5: A 0, B 1, C 2, D 3, E 4);
tuple!(6: A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(10: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(11: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(12: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
